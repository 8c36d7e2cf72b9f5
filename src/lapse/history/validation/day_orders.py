"""In which order day, month and year stand: decided over the whole column, or refused with both readings counted."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date

from lapse.history.reading.expressions import literal
from lapse.history.validation.spelling import PARSED, Delivered, Doubt, decides, replaced
from lapse.history.validation.time_formats import format_of

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
WEEKDAY = r"(?:(?:mon|tue|tues|wed|wednes|thu|thurs|fri|sat|satur|sun)(?:day)?\.?,? +)?"
NAMED = (
    (rf"(?i)^{WEEKDAY}(\d{{1,2}})(?:st|nd|rd|th|\.)?(?: +of)?[ /-]*{MONTH},?[ /-]*(\d{{4}})\b", r"\2-@-\1"),
    (rf"(?i)^{WEEKDAY}{MONTH}[ /-]*(\d{{1,2}})(?:st|nd|rd|th)?,?[ /-]+(\d{{4}})\b", r"\2-@-\1"),
    (rf"(?i)^(\d{{4}})[ ./-]{MONTH}[ ./-]?(\d{{1,2}})\b", r"\1-@-\2"),
)
"""Days with an English month and a year of four digits, which can be nothing else, and as ISO with @ for the month."""
SHORT_NAME, NUMBER = "short name", "number"
WIDTHS = {4: r"\d{4}", 2: r"\d{2}"}
SEPARATORS = {".": r"\. ?", "/": "/", "-": "-"}
NAMED_SEPARATORS = {"-": "-", " ": " ", "/": "/", ".": r"\."}
ORDERS = ("dmy", "mdy", "ymd")
WORDS = {"d": "day", "m": "month", "y": "year"}
CENTURIES = {"19": r"[7-9]\d", "20": r"[0-6]\d"}
"""Of years of two digits: 70 is 1970, 69 is 2069."""


@dataclass(frozen=True)
class DayOrders:
    """What was decided for a column: replacements that make its days ISO, what is refused, what was found out."""

    replacements: tuple[tuple[str, str], ...]
    doubts: tuple[Doubt, ...]
    notes: tuple[str, ...]
    has_names: bool

    def iso(self, text: str) -> str:
        """Return the SQL of a text with its day as ISO where the order is known, and as it is elsewhere."""
        found = text
        for pattern, by in self.replacements:
            found = replaced(found, pattern, by)
        if self.has_names:
            month = f"lower(regexp_extract({text}, {literal('(?i)(?:^|[^a-z])(' + '|'.join(MONTHS) + ')')}, 1))"
            number = f"list_position([{', '.join(map(literal, MONTHS))}], {month})"
            found = f"replace({found}, '@', coalesce({number}::VARCHAR, '@'))"
        return found


@dataclass(frozen=True)
class Form:
    """Days that are written alike: their separator, how many digits their year has, whether the month is a name."""

    separator: str
    year_digits: int
    is_named: bool = False

    @property
    def orders(self) -> tuple[str, ...]:
        """The orders in which day, month and year may stand."""
        if self.is_named:
            return ("dmy", "ymd")
        return ORDERS if self.year_digits == 2 else ORDERS[:2]

    def called(self, order: str) -> str:
        """Return the name of an order: day.month.year."""
        return self.separator.join(WORDS[letter] for letter in order)

    def pattern(self, order: str = "dmy", digits: str = "") -> str:
        """Return what these days look like; `digits`: only years of these two digits."""
        wide = {4: (r"\d{1,2}", r"\d{1,2}", r"\d{4}"), 2: (r"\d{1,2}", r"\d{1,2}", r"\d{2}")}[self.year_digits]
        places = [digits if digits and letter == "y" else part for letter, part in zip(order, wide, strict=True)]
        if self.is_named:
            mark = NAMED_SEPARATORS[self.separator]
            return rf"(?i)^({places[0]}){mark}{MONTH}{mark}({places[2]})\b"
        return "^" + SEPARATORS[self.separator].join(f"({place})" for place in places) + r"\b"

    def replacements(self, order: str) -> list[tuple[str, str]]:
        """Return the replacements that make these days ISO."""
        if self.is_named:
            by = r"\2-@-\1" if order == "dmy" else r"\1-@-\2"
        else:
            by = "-".join(rf"\{order.index(letter) + 1}" for letter in "ymd")
        if self.year_digits == 4:
            return [(self.pattern(order), by)]
        return [(self.pattern(order, digits), century + by) for century, digits in CENTURIES.items()]


@dataclass
class Readings:
    """Which days of a form can be read in which order, counted in rows, and the first such text."""

    form: Form
    read: dict[frozenset[str], int] = field(default_factory=dict)
    sample: str = ""

    def add(self, parts: tuple[int, int, int], copies: int, text: str, between: tuple[date, date]) -> None:
        """Count a day."""
        orders = frozenset(order for order in self.form.orders if _can_be(parts, order, self.form, between))
        if orders:
            self.read[orders] = self.read.get(orders, 0) + copies
            self.sample = min(self.sample, text) if self.sample else text

    @property
    def rows(self) -> int:
        """How many rows can be read in any order."""
        return sum(self.read.values())

    def against(self, order: str) -> int:
        """Return how many rows can be read, but not in this order."""
        return sum(copies for orders, copies in self.read.items() if order not in orders)

    def decided(self) -> str | None:
        """Return the order that speaks for itself, None where it could be another one."""
        best, second, *_ = sorted(self.form.orders, key=self.against)
        # The year in front is never taken for granted: 24/05/15 is a day of May 2015 to most people.
        taken = best != "ymd" and decides(self.against(best), self.against(second), self.rows)
        return best if taken else None

    def counts(self) -> str:
        """Return in words how many rows can be read in which order."""
        return ", ".join(
            f"{self.rows - self.against(order):,} of {self.rows:,} rows can be {self.form.called(order)}"
            for order in self.form.orders
        )


def decided_orders(
    given: Delivered, shapes: Collection[str], name: str, place: str, between: tuple[date, date]
) -> DayOrders:
    """Return in which order the days of a column stand, by which of the orders make days that may be.

    Days with different separators, or years of two digits beside such of four, are decided apart: they may come from
    different programs.
    """
    has_names = any(re.search(f"(?i){MONTH}", shape) for shape in shapes)
    replacements = [(pattern, by) for pattern, by in NAMED if any(re.search(pattern, shape) for shape in shapes)]
    doubts, notes = [], []
    for readings in _readings(given, shapes, between, has_names=has_names):
        form, order = readings.form, readings.decided()
        if order is not None:
            replacements += form.replacements(order)
            notes.append(f"{name} was read as {form.called(order)}: {readings.counts()}")
            continue
        orders = [order for order in form.orders if readings.against(order) < readings.rows]
        formats = [format_of(readings.sample, order) for order in orders]
        lines = " or ".join(f"time_format: {text!r} for {form.called(o)}" for text, o in zip(formats, orders, strict=True))
        doubts.append(Doubt(
            f"{name} can be read as {' or as '.join(map(form.called, orders))}", f"regexp_matches({PARSED}, "
            f"{literal(form.pattern())})", f"{readings.counts().capitalize()}. Write {lines} under {place}.",
        ))  # fmt: skip
    return DayOrders(tuple(replacements), tuple(doubts), tuple(notes), has_names)


def _readings(given: Delivered, shapes: Iterable[str], between: tuple[date, date], *, has_names: bool) -> Iterable[Readings]:
    """Yield the readings of each form of days that a column has."""
    for digits, is_named, separators in ((4, False, SEPARATORS), (2, False, SEPARATORS), (2, True, NAMED_SEPARATORS)):
        for separator in separators if has_names or not is_named else ():
            form = Form(separator, digits, is_named)
            if not any(re.search(form.pattern(), shape) for shape in shapes):
                continue
            readings = Readings(form)
            head = f"regexp_extract(t, {literal(form.pattern())}, ['a', 'b'{'' if is_named else ', ' + repr('c')}])"
            c = f"list_position([{', '.join(map(literal, MONTHS))}], lower(left(regexp_extract(t, "
            month = f"{c}{literal('(?i)' + MONTH)}), 3)))" if is_named else "p.b::INT"
            parts = f"p.a::INT, {month}, {'p.b' if is_named else 'p.c'}::INT, sum(copies), min(t)"
            fits = f"regexp_matches(t, {literal(form.pattern())})"
            for *numbers, copies, text in given.rows(f"{parts}", f"{fits} GROUP BY 1, 2, 3", head):
                first, second, third = (int(number) for number in numbers)
                readings.add((first, second, third), int(copies), str(text), between)
            if readings.rows:
                yield readings


def _can_be(parts: tuple[int, int, int], order: str, form: Form, between: tuple[date, date]) -> bool:
    """Whether there is such a day. That 31/05/24 is not in 2031 only the newest day that may be tells."""
    year, month, day = (parts[order.index(letter)] for letter in "ymd")
    if form.year_digits == 2:
        year += 1900 if year >= 70 else 2000
    try:
        found = date(year, month, day)
    except ValueError:
        return False
    return order != "ymd" or between[0] <= found <= between[1]
