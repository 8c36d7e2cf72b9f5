"""All lists as one workbook: an overview, then a sheet for each list under its head. No cell is ever a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd

from lapse.core.files import atomic_write
from lapse.core.language import say
from lapse.core.tables.lists import LISTED
from lapse.outreach.about import CAUTION
from lapse.outreach.heads import ListHead
from lapse.outreach.spreadsheet import LINE, for_printing, width_of, write_table

MOST_NAME = 31
"""Characters that a sheet's name may have."""
CHARACTERS = 150
"""About how many characters of a line the columns of a list hold together."""
ABOUT = {
    "next_anniversary_date": "anniversary", "anniversary_years": "anniversary", "days_to_birthday": "birthday",
    "trial_end_date": "trial", "end_date": "days_left", "left_date": "since_left", "rating_last": "rating",
    "profit_last_year": "profit_last_year",
}  # fmt: skip
"""Columns that stand on the sheets of lists about them alone: column -> what their rule or order then speaks of."""
MOST_ROWS = 50_000
"""Customers on a sheet: more take a spreadsheet minutes to open. The CSV holds all of them."""
OVERVIEW = ("List", "Name", "People", "At stake", "Kept off", "Channel", "What it says")
OPTIONS = {
    "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, "nan_inf_to_errors": False,
}  # fmt: skip


def write_workbook(rows: Mapping[str, pd.DataFrame], heads: Sequence[ListHead], path: Path) -> None:
    """Write every list (listed.listed_rows) under its head; lists that are off stand in the overview alone.

    The creation date in the file is always the same day, so that the same lists give the same bytes.
    """
    import xlsxwriter

    with atomic_write(path) as temporary:
        book = xlsxwriter.Workbook(str(temporary), OPTIONS)
        book.set_properties({"title": "Lists", "created": datetime(2000, 1, 1)})  # noqa: DTZ001
        _write_overview(book, heads)
        for head in heads:
            if not head.plan.is_off:
                _write_list(book, head, rows[head.plan.name])
        book.close()


def _write_overview(book: Any, heads: Sequence[ListHead]) -> None:
    sheet = book.add_worksheet(say("Overview"))
    bold = book.add_format({"bold": True, "bg_color": "#0b6e4f", "font_color": "white", "valign": "top"})
    text, whole = (
        book.add_format({"text_wrap": True, "valign": "top", "indent": 1}),
        book.add_format({"num_format": "#,##0", "valign": "top"}),
    )
    for column, (name, width) in enumerate(zip(OVERVIEW, (34, 16, 8, 12, 9, 10, 90), strict=True)):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, say(name), bold)
    for row, head in enumerate(heads, start=1):
        said = " ".join(text for heading, text in head.sentences.items() if heading not in ("List", "Who is on it", "Model"))
        sheet.write_string(row, 0, head.title, text)
        sheet.write_string(row, 1, head.plan.name, text)
        sheet.write_number(row, 2, head.people, whole)
        if head.at_stake is not None:
            sheet.write_number(row, 3, head.at_stake, whole)
        sheet.write_number(row, 4, sum(head.kept_off.values()), whole)
        sheet.write_string(row, 5, say(head.plan.channel), text)
        sheet.write_string(row, 6, said or head.summary, text)
        sheet.set_row(row, LINE * max(ceil(1.15 * len(said or head.summary) / 90), ceil(1.15 * len(head.title) / 34)))
    for_printing(sheet, 0)


def _write_list(book: Any, head: ListHead, listed: pd.DataFrame) -> None:
    """Add the sheet of a list: what is to be said of it, then a row for each customer."""
    sheet = book.add_worksheet(head.plan.name[:MOST_NAME])
    delivered = [name for name in listed.columns if name not in LISTED.names]
    spoken_of = f"{head.plan.said} {head.plan.order}"
    # The day stands in the head.
    ours = [name for name in LISTED.names if name != "as_of" and ABOUT.get(name, "") in spoken_of
            and not (len(listed) and listed[name].isna().all())]  # fmt: skip
    shown = listed[[*ours[:2], *delivered, *ours[2:]]].head(MOST_ROWS)
    sentences = head.sentences
    if len(listed) > MOST_ROWS:
        sentences["Not all"] = say("The first {most:n} of {all:n} customers; {file} holds all.", most=MOST_ROWS,
                                   all=len(listed), file=f"{head.plan.name}.csv")  # fmt: skip
    characters = max(CHARACTERS, sum(width_of(shown, name) for name in shown.columns))
    for row, (heading, words) in enumerate(sentences.items()):
        colour = {"font_color": "#b3261e"} if heading == CAUTION else {}
        style = book.add_format({"text_wrap": True, "valign": "top", "bold": row == 0 or heading == "List", **colour})
        sheet.merge_range(row, 0, row, len(shown.columns) - 1, "", style)
        sheet.write_string(row, 0, f"{say(heading)}: {words}", style)
        sheet.set_row(row, LINE * ceil(1.15 * len(words) / characters))
    first = len(sentences)
    write_table(book, sheet, shown, first)
    sheet.autofilter(first, 0, first + max(len(shown), 1), len(shown.columns) - 1)
    for_printing(sheet, first)
