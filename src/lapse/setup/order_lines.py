"""Files of orders as one finds them: the exports of shop systems, where the money of a line is, and which orders count."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from lapse.core.engine import DuckEngine
from lapse.core.errors import SettingsError, sample_keys
from lapse.history.reading.expressions import columns_in, literal, quoted
from lapse.setup.column_words import CURRENCY, NOT_COUNTED, STATUS, rank_of
from lapse.setup.delivered_files import DeliveredFile, best

MOST_GROUPS = 50
"""A text with so few different values tells groups apart."""
SAME_WITHIN_ORDER = 0.9
"""An amount that is the same on all lines of so many orders of several lines is the order's, not the line's."""
MOST_EMPTY = 0.2
"""With a larger share of lines without a customer something more is wrong than guests."""
PRESETS = resources.files("lapse") / "setup" / "presets"


@cache
def preset(name: str) -> Mapping[str, Any]:
    """Return the settings of a known source, by section."""
    from ruamel.yaml import YAML

    found: Mapping[str, Any] = YAML(typ="safe").load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def export_of_a_shop(file: DeliveredFile) -> tuple[str, dict[str, str], dict[str, Any]] | None:
    """Return the name, columns and further settings of the shop system whose order export a file is; None for others."""
    for path in sorted(path.name for path in PRESETS.iterdir()):
        if path.endswith("_orders.yaml"):
            name = path.removesuffix(".yaml")
            table = preset(name)["sources"]["transactions"]
            texts = [table.get("where"), *table.get("derive", {}).values()]
            try:
                for text in filter(None, texts):
                    columns_in(text, file.names)
            except SettingsError:
                continue
            if {*table["columns"].values(), *table.get("fill_down", [])} <= set(file.names):
                settings = {key: value for key, value in table.items() if key not in ("path", "columns")}
                return name, dict(table["columns"]), settings
    return None


def without_totals(engine: DuckEngine, file: DeliveredFile, columns: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the columns with an amount that is a line's, and what to say of the order's totals that were passed over."""
    columns, totals = dict(columns), []
    while {"order_id", "amount"} <= columns.keys() and _is_of_the_order(engine, file, columns):
        totals.append(columns.pop("amount"))
        other = best(file, "amount", [column for column in file.columns if column.is_number and not column.is_day
                                      and column.name not in {*totals, *columns.values()}])  # fmt: skip
        if other is not None:
            columns["amount"] = other.name
    if not totals:
        return columns, []
    said = f"{', '.join(totals)}: the same on every line of an order, so the order's and not the line's: left out"
    if not columns.keys() & {"amount", "unit_price"}:
        said += ". Deliver the lines' amounts or prices, or a file with one line per order and map it as the amount"
    return columns, [said]


def one_amount(columns: dict[str, str]) -> dict[str, str]:
    """Return the columns without a unit price where there is an amount, or where no quantity goes with it."""
    if "unit_price" in columns and ("amount" in columns or "quantity" not in columns):
        price = columns["unit_price"]
        kept = {name: theirs for name, theirs in columns.items() if name != "unit_price"}
        # One line, one unit: its price is what was paid.
        return kept if "amount" in kept else {**kept, "amount": price}
    return columns


def which_count(file: DeliveredFile) -> tuple[dict[str, Any], list[str]]:
    """Return a condition that leaves out the orders whose status says that they came to nothing, and what to look at."""
    conditions, questions = [], []
    for column in file.columns:
        if rank_of(column.name, STATUS) is None or column.different > MOST_GROUPS:
            continue
        out = sorted(value for value in column.values if rank_of(value, NOT_COUNTED) is not None)
        others = [value for value in sorted(column.values) if value not in out]
        if out:
            conditions.append(f"COALESCE(TRIM({quoted(column.name)}), '') NOT IN ({', '.join(map(literal, out))})")
        left = f"orders with {sample_keys(out)} are left out, " if out else ""
        if others:
            questions.append(f"{column.name}: {left}those with {sample_keys(others)} count; see whether each of them does, "
                             "and correct where")  # fmt: skip
    return ({"where": " AND ".join(conditions)} if conditions else {}), questions


def open_questions(file: DeliveredFile, columns: Mapping[str, str]) -> list[str]:
    """Return what a person must say about whose order lines are, and about their money."""
    found = []
    customer = next(column for column in file.columns if column.name == columns["customer_id"])
    if customer.empty > MOST_EMPTY * file.rows:
        found.append(f"{customer.name} is empty on {customer.empty:,} of {file.rows:,} rows: guests, or an export that "
                     f"fills it on the first line of an order only (fill_down: [{customer.name}, …])")  # fmt: skip
    currency = best(file, CURRENCY, [column for column in file.columns if 1 < column.different <= MOST_GROUPS])
    if currency is not None:
        found.append(f"{currency.name} holds {sample_keys(sorted(currency.values))}: amounts are added as they stand. "
                     "Deliver them in one currency")  # fmt: skip
    if not columns.keys() & {"amount", "unit_price"}:
        found.append("no amount or price of a line was found: without one there are no values at stake")
    return found


def _is_of_the_order(engine: DuckEngine, file: DeliveredFile, columns: Mapping[str, str]) -> bool:
    """Whether the amount is the same on all lines of nearly every order that has several."""
    order, amount = (file.sql_name(columns[name]) for name in ("order_id", "amount"))
    ((several, same),) = engine.connection.execute(
        f"SELECT count(*), count(*) FILTER (n = 1) FROM (SELECT count(DISTINCT {amount}) AS n FROM {file.staged} "
        f"WHERE {order} IS NOT NULL GROUP BY {order} HAVING sum(copies) > 1)"
    ).fetchall()
    return bool(several) and same >= SAME_WITHIN_ORDER * several
