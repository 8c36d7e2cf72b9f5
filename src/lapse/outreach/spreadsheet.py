"""The list as a workbook that a person opens and prints. No cell is ever a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd

from lapse.core.files import atomic_write
from lapse.core.language import say
from lapse.core.risk_text import number_format
from lapse.core.tables.lists import AT_RISK
from lapse.outreach.about import CAUTION, HEAD
from lapse.outreach.export import DAYS

HEADINGS = {
    "rank": "Rank", "customer_id": "Customer", "churn_risk": "Churn risk", "risk_band": "Band",
    "reason_1": "Strongest reason", "reason_2": "Second reason", "reason_3": "Third reason",
    "last_order_date": "Last order", "days_since_last_order": "Days since last order",
    "spend_last_year": "Spend, last 365 days", "expected_margin": "Expected margin if kept",
    "value_at_stake": "Value at stake", "expected_profit": "Expected profit of contact",
    "comeback_chance": "Chance to come back by themselves",
    "as_of": "As of", "model_version": "Model", "reason_1_code": "Strongest reason, code",
    "reason_2_code": "Second reason, code", "reason_3_code": "Third reason, code",
    "risk_percentile": "Riskier than so many % of customers", "reason_to_stay": "Reason to stay",
    "next_order_date": "Next order due", "cost_to_serve": "Cost to serve, a year",
    "profit_last_year": "Profit, last 365 days", "segment": "Segment", "end_date": "Subscription ends",
    "trial_end_date": "Trial ends", "left_date": "Left on", "rating_last": "Last rating",
    "next_anniversary_date": "Anniversary", "anniversary_years": "Years with us", "days_to_birthday": "Days to birthday",
    "action": "What to do",
    "channel": "Channel",
}  # fmt: skip
TECHNICAL = ("as_of", "model_version", "reason_1_code", "reason_2_code", "reason_3_code")
"""What a machine wants to know: on a sheet of its own."""
WIDTHS = {"rank": 6, "customer_id": 16, "risk_band": 8, "reason_1": 36, "reason_2": 32, "reason_3": 32,
          "days_since_last_order": 9, "churn_risk": 8, "last_order_date": 11, "comeback_chance": 11,
          "reason_to_stay": 32, "risk_percentile": 9}  # fmt: skip
MONEY = ("spend_last_year", "expected_margin", "value_at_stake", "expected_profit", "cost_to_serve", "profit_last_year")
SAID = ("risk_band", "channel")
"""Columns of a few words of lapse's own."""
WIDTH, WIDEST = 12, 40
"""Characters of a column that has no width above; and the most that a long cell makes of one, before its text is wrapped."""
TEXT = {"align": "left", "indent": 1}
"""Texts keep off the number that ends before them."""
LINE, HEAD_HEIGHT = 15.0, 62.0
"""Points of a line of text, and of the row of headings."""


def write_spreadsheet(listed: pd.DataFrame, path: Path, about: Mapping[str, str]) -> None:
    """Write a list as .xlsx: the customers, the codes and versions behind them, and what the columns mean.

    Above the customers stands what `about` (about.about_list) says in short. Printed, the list is one page wide and has its
    headings on every page. The creation date in the file is always the same day, so that the same list gives the same
    bytes.
    """
    import xlsxwriter

    options = {
        "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, "nan_inf_to_errors": False,
    }  # fmt: skip
    with atomic_write(path) as temporary:
        book = xlsxwriter.Workbook(str(temporary), options)
        book.set_properties({"title": "Customers at risk", "created": datetime(2000, 1, 1)})  # noqa: DTZ001
        _write_customers(book, listed, about)
        codes = book.add_worksheet(say("Codes"))
        write_table(book, codes, listed[["rank", "customer_id", *(name for name in TECHNICAL if name in listed)]], 0)
        for_printing(codes, 0)
        notes = book.add_worksheet(say("About this list"))
        wrapped = book.add_format({"text_wrap": True, "valign": "top"})
        notes.set_column(0, 0, 26, wrapped)
        notes.set_column(1, 1, 110, wrapped)
        for row, (name, text) in enumerate(about.items()):
            notes.write_string(row, 0, say(HEADINGS.get(name, name)))
            notes.write_string(row, 1, text)
        notes.set_landscape()
        notes.set_paper(9)
        notes.fit_to_pages(1, 0)
        book.close()


def _write_customers(book: Any, listed: pd.DataFrame, about: Mapping[str, str]) -> None:
    """Add the sheet of customers: what is to be said of all of them, then a row for each."""
    shown = listed[_shown(listed)]
    sheet = book.add_worksheet(say("At risk"))
    widths = [width_of(shown, name) for name in shown.columns]
    said = [(name, about[name]) for name in HEAD if name in about]
    for row, (name, text) in enumerate(said):
        colour = {"font_color": "#b3261e"} if name == CAUTION else {}
        style = book.add_format({"text_wrap": True, "valign": "top", "bold": name != HEAD[-1], **colour})
        words = f"{say(CAUTION)}: {text}." if name == CAUTION else text
        sheet.merge_range(row, 0, row, len(widths) - 1, "", style)
        sheet.write_string(row, 0, words, style)
        sheet.set_row(row, LINE * ceil(1.15 * len(words) / sum(widths)))
    first = len(said)
    write_table(book, sheet, shown, first)
    sheet.autofilter(first, 0, first + max(len(shown), 1), len(widths) - 1)
    for_printing(sheet, first)


def _shown(listed: pd.DataFrame) -> list[str]:
    """Return the columns for a person: the delivered ones behind the customer, and none that is empty for everybody."""
    delivered = [name for name in listed.columns if name not in AT_RISK.names]
    ours = [name for name in AT_RISK.names if name in listed and name not in (*TECHNICAL, "caution")]
    empty = {name for name in ours if len(listed) and listed[name].isna().all()}
    first = ["rank", "customer_id"]
    return [*first, *delivered, *(name for name in ours if name not in first and name not in empty)]


def width_of(rows: pd.DataFrame, name: str) -> float:
    """Return how wide a column is, in characters."""
    longest = max((len(text) for text in rows[name].dropna() if isinstance(text, str)), default=0)
    return float(WIDTHS.get(name, min(max(WIDTH, longest + 2), WIDEST)))


def write_table(book: Any, sheet: Any, rows: pd.DataFrame, first: int) -> None:
    """Write headings into a row and the customers below it; long texts are wrapped, never cut."""
    head = book.add_format({"bold": True, "bg_color": "#0b6e4f", "font_color": "white", "text_wrap": True, "valign": "top"})
    formats = _formats(book, list(rows.columns))
    sheet.set_row(first, HEAD_HEIGHT)
    for column, name in enumerate(rows.columns):
        sheet.set_column(column, column, width_of(rows, name), formats[name])
        sheet.write_string(first, column, say(HEADINGS[name]) if name in HEADINGS else name, head)
        for row, value in enumerate(rows[name], start=first + 1):
            if pd.isna(value):
                continue
            if name in DAYS:
                sheet.write_datetime(row, column, pd.Timestamp(value).to_pydatetime())
            elif isinstance(value, str):
                sheet.write_string(row, column, say(value) if name in SAID else value)
            else:
                sheet.write_number(row, column, value)
    for row, lines in enumerate(_lines(rows), start=first + 1):
        sheet.set_row(row, LINE * lines)


def _formats(book: Any, names: Sequence[str]) -> dict[str, Any]:
    numbers = {"churn_risk": number_format(), "comeback_chance": number_format(digits=0), "days_since_last_order": "0",
               "risk_percentile": "0",
               **dict.fromkeys(MONEY, "#,##0.00"), **dict.fromkeys(DAYS, "yyyy-mm-dd")}  # fmt: skip
    top = {"valign": "top", "text_wrap": True}
    return {
        name: book.add_format(
            {**top, **({"num_format": numbers[name]} if name in numbers else TEXT if name != "rank" else {})}
        )
        for name in names
    }


def _lines(rows: pd.DataFrame) -> list[int]:
    """Return how many lines each row needs for its longest wrapped text."""
    needed = [1] * len(rows)
    for name in rows.columns:
        fits = width_of(rows, name) - 2
        for place, value in enumerate(rows[name]):
            if isinstance(value, str):
                # Words break early, so a line of several holds less than its width.
                lines = (1 if len(part) <= fits else ceil(len(part) / (0.9 * fits)) for part in value.split("\n"))
                needed[place] = max(needed[place], sum(lines))
    return needed


def for_printing(sheet: Any, headings: int) -> None:
    """Make a sheet landscape on A4, one page wide, with the row of headings on every page and in sight when scrolled."""
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.set_margins(left=0.4, right=0.4, top=0.5, bottom=0.6)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(headings)
    sheet.set_footer("&C&P / &N")
    sheet.freeze_panes(headings + 1, 2)
