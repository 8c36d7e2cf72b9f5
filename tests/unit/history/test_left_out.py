"""Rows that `where` leaves out are counted in the equation and are no rejects."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapse.core.errors import SettingsError
from tests.unit.history.history_cases import Validate

LINES = """\
who,at,paid,status
ann,2020-01-05,10,paid
ann,2020-01-05,10,paid
bob,2020-02-01,5,cancelled
bob,2020-02-01,5,cancelled
,no day,,test
cid,2020-03-01,7,
dan,2020-03-02,x,paid
"""


def test_left_out_rows_are_counted_and_are_no_rejects(run_validate: Validate, folder: Path) -> None:
    (folder / "t.csv").write_text(LINES)
    found = run_validate(transactions={"path": "t.csv", "where": "status NOT IN ('cancelled', 'test')"})
    count = found.counts["transactions"]
    # As in SQL, the row without a status is left out, too.
    assert (*found.numbers(), count.rows_left_out) == (7, 1, 1, 1, 4)
    assert str(count).startswith("7 rows in = 1 kept + 1 rejected + 1 duplicates + 4 left out by where")
    assert found.rows(columns="customer_id") == [("ann",)]
    assert list(found.reasons()) == ["amount cannot be read as a decimal"]


def test_a_condition_that_fails_for_a_row_is_a_reject(run_validate: Validate, folder: Path) -> None:
    (folder / "t.csv").write_text(LINES)
    found = run_validate(transactions={"path": "t.csv", "where": "CAST(paid AS INT) > 5"})
    assert (*found.numbers(), found.counts["transactions"].rows_left_out) == (7, 2, 1, 1, 3)
    assert found.reasons() == {"where cannot be computed": 1}


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("status", "is no condition: it gives a VARCHAR"),
        ("state = 'paid'", "the source has no column 'state'. Did you mean 'status'"),
        ("getenv('HOME') <> ''", "is not allowed"),
        ("status IN (SELECT 1)", "is not allowed"),
        ("true; DROP TABLE x", "must be one SQL expression"),
    ],
)
def test_what_is_no_condition_is_refused(condition: str, said: str, run_validate: Validate, folder: Path) -> None:
    (folder / "t.csv").write_text(LINES)
    with pytest.raises(SettingsError, match=r"^sources\.transactions\.where: ") as caught:
        run_validate(transactions={"path": "t.csv", "where": condition})
    assert said in str(caught.value)


def test_a_delivery_that_is_left_out_whole_says_so(run_validate: Validate, folder: Path) -> None:
    (folder / "t.csv").write_text(LINES)
    with pytest.raises(Exception, match=r"has no usable row \(7 left out by where\)"):
        run_validate(transactions={"path": "t.csv", "where": "status = 'PAID'"})
