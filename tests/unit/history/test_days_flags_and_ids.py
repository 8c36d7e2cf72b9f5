"""Days of contracts are read as times are, flags that cannot be read are rejects, and nobody is not a customer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.history.history_cases import Validate

CONTRACTS = {"customer_id": "who", "started_date": "start", "ended_date": "end"}
LINES = {"customer_id": "who", "ordered_at": "at", "amount": "paid", "is_return": "back"}


def contracts(folder: Path, run_validate: Validate, rows: str, **settings: Any) -> Any:
    (folder / "contracts.csv").write_text(f"who,start,end\n{rows}")
    return run_validate(subscriptions={"path": "contracts.csv", "columns": CONTRACTS, **settings})


@pytest.mark.parametrize(
    ("row", "settings", "days"),
    [
        ("a,01.02.2019,31.03.2019", {"time_format": "%d.%m.%Y"}, ("2019-02-01", "2019-03-31")),
        ("a,2018-12-31T23:00:00Z,2019-04-30T22:00Z", {}, ("2018-12-31", "2019-04-30")),
        ("a,2019-01-01 01:00:00+02:00,2019-05-01", {}, ("2018-12-31", "2019-05-01")),
        ("a,2019-01-01 01:00:00 +0200,2019-05-01T01:00 +02", {}, ("2018-12-31", "2019-04-30")),
        ("a,2019-01-01 00:30:00,2019-05-01", {"timezone": "Europe/Berlin"}, ("2018-12-31", "2019-05-01")),
        ("a,2019-01-01,2021-05-01", {"timezone": "Europe/Berlin"}, ("2019-01-01", "2021-05-01")),
        (
            "a,01/02/2019 0h,31/03/2019 0h",
            {"time_format": "%d/%m/%Y %-Hh", "timezone": "Europe/Berlin"},
            ("2019-01-31", "2019-03-30"),
        ),
    ],
    ids=[
        "a format",
        "UTC",
        "an offset",
        "an offset without a colon",
        "the zone of the source",
        "bare days, an end that is known in advance",
        "an hour without a zero",
    ],
)
def test_days_are_read_as_times_are(
    folder: Path, run_validate: Validate, row: str, settings: dict[str, Any], days: tuple[str, str]
) -> None:
    found = contracts(folder, run_validate, f"{row}\n", **settings)
    assert [tuple(map(str, row)) for row in found.rows("subscriptions", "started_date, ended_date")] == [days]


def test_days_that_cannot_be_are_rejected(folder: Path, run_validate: Validate) -> None:
    found = contracts(folder, run_validate, "a,01/02/24,\nb,0024-03-05,\nc,2030-01-01,\nd,2019-01-01,\n")
    assert found.numbers("subscriptions") == (4, 1, 3, 0)
    assert "started_date lies in the future" in found.reasons("subscriptions")


def test_a_return_flag_that_cannot_be_read_is_no_silent_no(folder: Path, run_validate: Validate) -> None:
    flags = ["", "X", "1.0", "jo", "returned", "Y", "true", "0"]
    (folder / "lines.csv").write_text(
        "who,at,paid,back\n" + "".join(f"a,2020-01-0{n},10,{flag}\n" for n, flag in enumerate(flags, 1))
    )
    found = run_validate(transactions={"path": "lines.csv", "columns": LINES})
    assert found.reasons() == {"is_return cannot be read as a flag": 4}
    assert [row[0] for row in found.rows(columns="is_return, ordered_at")] == [False, False, True, True]


@pytest.mark.parametrize("nobody", ["#N/A", "<NA>", "(null)", "NaT", "nil", "undefined", "Unknown", "-", "0", "NA"])
def test_a_placeholder_for_nobody_is_a_missing_id(folder: Path, run_validate: Validate, nobody: str) -> None:
    (folder / "lines.csv").write_text(f"who,at,paid\n{nobody},2020-01-01,1\nb,2020-01-02,1\n")
    found = run_validate(transactions={"path": "lines.csv"})
    assert found.reasons() == {"customer_id is missing": 1} and found.numbers() == (2, 1, 1, 0)


def test_sixteen_digits_of_a_workbook_stay_whole(folder: Path, run_validate: Validate) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(str(folder / "lines.xlsx")) as book:
        sheet = book.add_worksheet()
        for place, row in enumerate(
            [["who", "at", "paid"], [6335991234567890, "2020-01-01", 1], [123456789012345, "2020-01-02", 2]]
        ):
            sheet.write_row(place, 0, row)
    found = run_validate(transactions={"path": "lines.xlsx"})
    assert [row[0] for row in found.rows(columns="customer_id")] == ["123456789012345", "6335991234567890"]
