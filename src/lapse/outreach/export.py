"""A list as a file that a person opens: CSV, spreadsheet or JSON. No cell can ever be a formula."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from lapse.core.files import atomic_write, write_text

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
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
DAYS = ("last_order_date", "as_of")
MONEY = ("spend_last_year", "expected_margin", "value_at_stake", "expected_profit")
WIDTHS = {"customer_id": 16, "reason_1": 58, "reason_2": 58, "reason_3": 58, "model_version": 16}


def list_as_csv(listed: pd.DataFrame) -> str:
    """Return a list as CSV; an apostrophe stands before a text that a spreadsheet would run as a formula."""
    safe = listed.copy()
    for name in safe.select_dtypes(include=["object", "string"]).columns:
        safe[name] = safe[name].map(_without_formula)
    safe["churn_risk"] = safe["churn_risk"].map("{:.4f}".format)
    return safe.to_csv(index=False, float_format="%.2f", lineterminator="\n")


def list_as_json(listed: pd.DataFrame) -> str:
    """Return a list as a JSON array with one object per customer; what is unknown is null."""
    days = {name: listed[name].astype(str).mask(listed[name].isna(), None) for name in DAYS}
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
        _write_customers(book, listed)
        notes = book.add_worksheet("About this list")
        notes.set_column(0, 0, 26)
        notes.set_column(1, 1, 110)
        for row, (name, text) in enumerate(about.items()):
            notes.write_string(row, 0, name)
            notes.write_string(row, 1, text)
        book.close()


def _write_customers(book: Any, listed: pd.DataFrame) -> None:
    """Add the sheet of customers: frozen header, filters, percentages, dates and widths."""
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
    sheet.freeze_panes(1, 2)
    sheet.autofilter(0, 0, max(len(listed), 1), len(listed.columns) - 1)


def _without_formula(value: object) -> object:
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
