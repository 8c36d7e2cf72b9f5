"""A list as text: CSV, JSON, or a table for the terminal. No cell can ever be a formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lapse.core.cells import without_formula
from lapse.core.files import write_text
from lapse.core.logging import printable
from lapse.core.risk_text import risk_text
from lapse.core.tables.lists import AT_RISK, LEAVING_LIST, LISTED, SCORED_CUSTOMERS

OURS = frozenset({*AT_RISK.names, *LEAVING_LIST.names, *LISTED.names, *SCORED_CUSTOMERS.names})
"""Names of columns that need no quotes; all others are the delivery's."""
DAYS = tuple(column.name for column in (*LEAVING_LIST.columns, *SCORED_CUSTOMERS.columns) if column.type == "date")


def list_as_csv(listed: pd.DataFrame) -> str:
    """Return a list as CSV, every text in quotes.

    An apostrophe stands before whatever a spreadsheet would run as a formula, wherever it might begin a cell.
    """
    lines = [",".join(name if name in OURS else _quoted(name) for name in listed.columns)]
    names = list(listed.columns)
    lines += [",".join(map(_csv_cell, names, row)) for row in listed.itertuples(index=False, name=None)]
    return "".join(f"{line}\n" for line in lines)


def list_as_json(listed: pd.DataFrame) -> str:
    """Return a list as a JSON array with one object per customer; what is unknown is null."""
    days = {name: listed[name].astype(str).mask(listed[name].isna(), None) for name in DAYS if name in listed}
    text = listed.assign(**days).to_json(orient="records", indent=2, double_precision=6, force_ascii=False)
    return f"{text}\n"


def list_as_table(listed: pd.DataFrame) -> str:
    """Return a list as a table for the terminal, a line per customer with the reasons at its end."""
    lines = [f"{'rank':>5}  {'customer':<16} {'risk':>7}  {'band':<6}  {'last order':<10} {'spend 365 d':>12}  "
             f"{'back':>5}  reasons"]  # fmt: skip
    for row in listed.to_dict("records"):
        spend = "" if pd.isna(row["spend_last_year"]) else f"{row['spend_last_year']:,.2f}"
        customer = printable(row["customer_id"])
        reasons = "; ".join(row[name] for name in ("reason_1", "reason_2", "reason_3") if pd.notna(row[name]))
        back = "" if pd.isna(row["comeback_chance"]) else risk_text(row["comeback_chance"], 0)
        last = "" if pd.isna(row["last_order_date"]) else f"{row['last_order_date']:%Y-%m-%d}"
        lines.append(f"{row['rank']:>5}  {customer:<16} {risk_text(row['churn_risk']):>7}  {row['risk_band']:<6}  "
                     f"{last:<10} {spend:>12}  {back:>5}  {reasons}")  # fmt: skip
    return "\n".join(lines) + "\n" if len(listed) else "Nobody is on the list.\n"


def write_csv(listed: pd.DataFrame, path: Path) -> None:
    """Write a list as CSV in UTF-8."""
    write_text(path, list_as_csv(listed))


def _csv_cell(name: str, value: Any) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, str):
        return _quoted(value)
    if name in DAYS:
        return f"{value:%Y-%m-%d}"
    if isinstance(value, float):
        return f"{value:.4f}" if name == "churn_risk" else f"{value:.2f}"
    return str(value)


def _quoted(text: str) -> str:
    return f'"{without_formula(text).replace(chr(34), chr(34) * 2)}"'
