"""A list as a file that a person opens: CSV, spreadsheet or JSON. No cell can ever be a formula."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from lapse.core.files import atomic_write, write_text

FORMULA_STARTS = "=+\\-@\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66\ufe6b"
"""What begins a formula: = + - @, also of full width, small, and the mathematical minus."""
UNSEEN = (
    r"\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
)
"""Spaces, control and invisible characters: an importer may drop them before it looks at what begins a cell."""
BREAKS = r",;|\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029\uff0c\uff1b"
"""Where an importer that is told, or believes, another separator or does without quotes begins a cell inside a text."""
CELL_START = re.compile(f'(^|[{BREAKS}])(?=["{UNSEEN}]*[{FORMULA_STARTS}])|^(?=[\\t\\r])')
HEADINGS = {
    "rank": "Rank", "customer_id": "Customer", "churn_risk": "Churn risk", "risk_band": "Band",
    "reason_1": "Strongest reason", "reason_2": "Second reason", "reason_3": "Third reason",
    "last_order_date": "Last order", "days_since_last_order": "Days since last order",
    "spend_last_year": "Spend, last 365 days", "expected_margin": "Expected margin if kept",
    "value_at_stake": "Value at stake", "expected_profit": "Expected profit of contact",
    "comeback_chance": "Chance to come back by themselves",
    "as_of": "As of", "model_version": "Model", "reason_1_code": "Strongest reason, code",
    "reason_2_code": "Second reason, code", "reason_3_code": "Third reason, code", "caution": "Caution",
}  # fmt: skip
DAYS = ("last_order_date", "as_of", "notice_date", "end_date")
MONEY = ("spend_last_year", "expected_margin", "value_at_stake", "expected_profit")
WIDTHS = {"customer_id": 16, "reason_1": 58, "reason_2": 58, "reason_3": 58, "model_version": 16}


def list_as_csv(listed: pd.DataFrame) -> str:
    """Return a list as CSV, every text in quotes.

    An apostrophe stands before whatever a spreadsheet would run as a formula, wherever it might begin a cell.
    """
    lines = [",".join(listed.columns)]
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
    lines = [f"{'rank':>5}  {'customer':<16} {'risk':>6}  {'band':<6}  {'last order':<10} {'spend 365 d':>12}  "
             f"{'back':>4}  reasons"]  # fmt: skip
    for row in listed.to_dict("records"):
        spend = "" if pd.isna(row["spend_last_year"]) else f"{row['spend_last_year']:,.2f}"
        reasons = "; ".join(row[name] for name in ("reason_1", "reason_2", "reason_3") if pd.notna(row[name]))
        back = "" if pd.isna(row["comeback_chance"]) else f"{row['comeback_chance']:.0%}"
        last = "" if pd.isna(row["last_order_date"]) else f"{row['last_order_date']:%Y-%m-%d}"
        lines.append(f"{row['rank']:>5}  {row['customer_id']:<16} {row['churn_risk']:>6.1%}  {row['risk_band']:<6}  "
                     f"{last:<10} {spend:>12}  {back:>4}  {reasons}")  # fmt: skip
    return "\n".join(lines) + "\n" if len(listed) else "Nobody is on the list.\n"


def write_csv(listed: pd.DataFrame, path: Path) -> None:
    """Write a list as CSV in UTF-8."""
    write_text(path, list_as_csv(listed))


def write_spreadsheet(listed: pd.DataFrame, path: Path, about: dict[str, str]) -> None:
    """Write a list as .xlsx, with a second sheet that says what its columns mean.

    The creation date in the file is always the same day, so that the same list gives the same bytes.
    """
    import xlsxwriter

    options = {
        "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, "nan_inf_to_errors": False,
    }  # fmt: skip
    with atomic_write(path) as temporary:
        book = xlsxwriter.Workbook(str(temporary), options)
        book.set_properties({"title": "Customers at risk", "created": datetime(2000, 1, 1)})  # noqa: DTZ001
        _write_customers(book, listed, about.get("What this is", ""))
        notes = book.add_worksheet("About this list")
        notes.set_column(0, 0, 26)
        notes.set_column(1, 1, 110)
        for row, (name, text) in enumerate(about.items()):
            notes.write_string(row, 0, name)
            notes.write_string(row, 1, text)
        book.close()


def _write_customers(book: Any, listed: pd.DataFrame, instead: str) -> None:
    """Add the sheet of customers: frozen header, filters, percentages, dates and widths; `instead` when it is empty."""
    head = book.add_format({"bold": True, "bg_color": "#0b6e4f", "font_color": "white", "text_wrap": True, "valign": "top"})
    formats = {
        "churn_risk": book.add_format({"num_format": "0.0%"}),
        "comeback_chance": book.add_format({"num_format": "0%"}),
        **{name: book.add_format({"num_format": "#,##0.00"}) for name in MONEY},
        **{name: book.add_format({"num_format": "yyyy-mm-dd"}) for name in DAYS},
    }
    sheet = book.add_worksheet("At risk")
    for column, name in enumerate(listed.columns):
        sheet.set_column(column, column, WIDTHS.get(name, 12), formats.get(name))
        sheet.write_string(0, column, HEADINGS.get(name, name), head)
        for row, value in enumerate(listed[name], start=1):
            if pd.isna(value):
                continue
            if name in DAYS:
                sheet.write_datetime(row, column, pd.Timestamp(value).to_pydatetime())
            elif isinstance(value, str):
                sheet.write_string(row, column, value)
            else:
                sheet.write_number(row, column, value)
    if listed.empty:
        sheet.write_string(1, 0, instead)
    sheet.freeze_panes(1, 2)
    sheet.autofilter(0, 0, max(len(listed), 1), len(listed.columns) - 1)


def _csv_cell(name: str, value: Any) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, str):
        return f'"{without_formula(value).replace(chr(34), chr(34) * 2)}"'
    if name in DAYS:
        return f"{value:%Y-%m-%d}"
    if isinstance(value, float):
        return f"{value:.4f}" if name == "churn_risk" else f"{value:.2f}"
    return str(value)


def without_formula(text: str) -> str:
    """Return a text that no spreadsheet runs: an apostrophe stands where a cell might begin with a formula."""
    return CELL_START.sub(lambda found: f"{found.group(1) or ''}'", text)
