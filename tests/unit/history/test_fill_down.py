"""Order-level cells that stand on an order's first line only are carried to its other lines, and no further."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapse.core.errors import DataError, SettingsError
from tests.unit.history.history_cases import Validate

COLUMNS = {"customer_id": "Email", "ordered_at": "Created", "amount": "Price", "order_id": "Name", "product_id": "Item"}
LINES = """\
Name,Email,Created,Price,Item
#1,ann@x.org,2020-01-05,10,mug
#1,,,20,tea
#1, ,,30,jam
#2,bob@x.org,2020-02-01,5,mug
#3,,2020-02-02,7,tea
#3,,,8,jam
#2,,,9,tea
"""


def test_cells_of_the_first_line_are_carried_within_the_same_order(run_validate: Validate, folder: Path) -> None:
    (folder / "t.csv").write_text(LINES)
    found = run_validate(transactions={"path": "t.csv", "columns": COLUMNS, "fill_down": ["Email", "Created"]})
    assert found.rows(columns="order_id, customer_id, order_date::VARCHAR, amount::DOUBLE") == [
        ("#1", "ann@x.org", "2020-01-05", 10.0),
        ("#1", "ann@x.org", "2020-01-05", 20.0),
        ("#1", "ann@x.org", "2020-01-05", 30.0),
        ("#2", "bob@x.org", "2020-02-01", 5.0),
    ]
    # Nobody is named on the first line of order 3, and the last line stands past another order.
    assert found.numbers() == (7, 4, 3, 0)
    assert "fill_down: 3 lines took empty cells from the first line with the same Name" in found.counts["transactions"].notes


def test_without_it_the_other_lines_are_rejects(run_validate: Validate, folder: Path) -> None:
    (folder / "t.csv").write_text(LINES)
    assert run_validate(transactions={"path": "t.csv", "columns": COLUMNS}).numbers() == (7, 2, 5, 0)


def test_a_key_that_is_on_the_first_line_only(run_validate: Validate, folder: Path) -> None:
    lines = LINES.replace("#1,,", ",,").replace("#1, ,", ",,")
    (folder / "t.csv").write_text(lines)
    found = run_validate(transactions={"path": "t.csv", "columns": COLUMNS, "fill_down": ["Name", "Email", "Created"]})
    assert [row[0] for row in found.rows(columns="order_id, amount")][:3] == ["#1", "#1", "#1"]
    (folder / "t.csv").write_text(lines.replace("#2,bob@x.org,", "#2,bob@x.org,too,many,"))
    with pytest.raises(DataError, match=r"'Name' is empty on lines .* but 1 lines cannot be read"):
        run_validate(transactions={"path": "t.csv", "columns": COLUMNS, "fill_down": ["Name", "Email", "Created"]})


def test_the_key_must_be_known(run_validate: Validate, folder: Path) -> None:
    (folder / "t.csv").write_text(LINES)
    columns = {name: theirs for name, theirs in COLUMNS.items() if name != "order_id"}
    settings = {"path": "t.csv", "columns": columns, "fill_down": ["Email", "Created"]}
    with pytest.raises(SettingsError, match=r"sources\.transactions\.fill_down: nothing says which lines belong together"):
        run_validate(transactions=settings)
    assert run_validate(transactions={**settings, "fill_down_by": "Name"}).numbers() == (7, 4, 3, 0)


def test_the_order_of_many_lines_is_the_files(run_validate: Validate, folder: Path) -> None:
    lines = ["Name,Email,Created,Price,Item"]
    for order in range(30_000):
        lines += [f"#{order % 2},c{order},2020-01-01,1,a", f"#{order % 2},,,2,b"]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    found = run_validate(transactions={"path": "t.csv", "columns": COLUMNS, "fill_down": ["Email", "Created"]})
    bought = found.rows(columns="customer_id, amount::INT")
    assert set(bought) == {(f"c{order}", amount) for order in range(30_000) for amount in (1, 2)}
    assert found.numbers() == (60_000, 60_000, 0, 0)
