"""In which language something is said: messages with places for numbers and names, put into words when they are read.

A message is English text with numbered or named places. How a place is printed is said behind its colon, and a translation
may say it in its own way, with as many forms of a noun as its language has: {0:n} a number; {0:n order|orders} a number and
its noun; {0:#order|orders} the same with `no` for 0 (`#order` alone: order, orders); {0:+more|fewer} a difference without
its sign; {0:amount} money; {0:ago}, {0:every day}, {0:in days}: days; {0:day} a day of the calendar; {0} as it is.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

Language = Literal["en", "nl", "nb", "pl", "ja"]
LANGUAGES: Mapping[Language, str] = {
    "en": "English", "nl": "Nederlands", "nb": "Norsk", "pl": "Polski", "ja": "日本語",
}  # fmt: skip
"""Languages by what they call themselves; each but English has its catalogue in core/translations."""
FORMS: Mapping[str, tuple[str, ...]] = {"pl": ("one", "few", "many"), "ja": ("other",)}
"""The order in which a translation gives the forms of a noun; elsewhere one, then all others."""
TRANSLATIONS = Path(__file__).parent / "translations"
_SPOKEN: ContextVar[Language] = ContextVar("language", default="en")

Told = Sequence[Any]
"""A message and what stands in its places, as plain values: texts, numbers as printed in English without grouping, and
other messages. It is what is kept, since it can be put into words in any language."""


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Say everything within in a language."""
    token = _SPOKEN.set(language)
    try:
        yield
    finally:
        _SPOKEN.reset(token)


def spoken() -> Language:
    """Return the language in which things are said now."""
    return _SPOKEN.get()


def known_language(text: str | None) -> Language | None:
    """Return a language by its code; None where it is not known."""
    return next((one for one in get_args(Language) if one == text), None)


def say(message: str, /, *places: Any, **names: Any) -> str:
    """Return a message in the language spoken, English where it has no translation, with its places filled in."""
    language = spoken()
    found = message if language == "en" else catalogue(language).get(message) or message
    return PRINTED.vformat(found, places, names) if "{" in found else found


def tell(message: str, /, *places: Any) -> Told:
    """Return a message with what stands in its places, to be put into words later."""
    return [message, *places]


def words(told: Told) -> str:
    """Return in words what was told, in the language spoken."""
    message, *places = told
    return say(message, *(words(one) if isinstance(one, list | tuple) else one for one in places))


@cache
def catalogue(language: Language) -> Mapping[str, str]:
    """Return the translations into a language by their English messages."""
    from babel.messages.pofile import read_po

    with (TRANSLATIONS / f"{language}.po").open("rb") as file:
        return {str(one.id): str(one.string) for one in read_po(file, locale=language) if one.id and one.string}


class Printed(string.Formatter):
    """Python's format strings with the formats above; numbers come as they are printed in English, without grouping."""

    def format_field(self, value: Any, format_spec: str) -> Any:  # noqa: PLR0911
        """Return the value of a place as it is said."""
        if not format_spec:
            return str(value)
        if format_spec == "day":
            return day(value)
        shown = value if isinstance(value, str) else f"{value:.0f}"
        if format_spec == "n" or format_spec.startswith("n "):
            return _with_noun(shown, format_spec[2:])
        if format_spec.startswith("#"):
            return _with_noun(shown, format_spec[1:], zero=say("no"))
        if format_spec.startswith("+"):
            more, fewer = format_spec[1:].split("|")
            return _joined(number(shown.removeprefix("-")), fewer if shown.startswith("-") else more)
        if format_spec == "ago":
            return say("{0:n day|days} ago", shown) if float(shown) else say("today")
        if format_spec == "every day":
            return say("every {0:n day|days}", shown) if float(shown) > 1 else say("every day")
        if format_spec == "in days":
            return say("in {0:n day|days}", shown)
        if format_spec == "amount":
            return number(shown) if float(shown) else say("nothing")
        return super().format_field(value, format_spec)


PRINTED = Printed()


def _with_noun(shown: str, forms: str, zero: str | None = None) -> str:
    """Return a number with the form of its noun that goes with the number as it is printed."""
    printed = zero if zero is not None and not float(shown.rstrip("%")) else number(shown)
    if not forms:
        return printed
    given = forms.split("|") if "|" in forms else [forms, f"{forms}s"] if spoken() == "en" else [forms]
    return _joined(printed, given[min(_form(shown, spoken()), len(given) - 1)])


def _joined(printed: str, word: str) -> str:
    return f"{printed}{word}" if spoken() == "ja" else f"{printed} {word}"


@lru_cache(maxsize=65536)
def _form(shown: str, language: Language) -> int:
    if language == "en":
        return 0 if shown == "1" else 1
    from babel import Locale

    found, forms = Locale(language).plural_form(abs(float(shown))), FORMS.get(language, ("one", "other"))
    return forms.index(found) if found in forms else len(forms) - 1


def number(shown: str | float, digits: int = 0) -> str:
    """Return a number as the language spoken prints it: one given as a text with just the digits it has, and per cent."""
    return _number(shown if isinstance(shown, str) else f"{shown:.{digits}f}", spoken())


def signed(value: float) -> str:
    """Return a whole number with its sign, nought with a plus."""
    return f"{'-' if value < 0 else '+'}{number(abs(value))}"


@lru_cache(maxsize=65536)
def _number(shown: str, language: Language) -> str:
    plain = shown.removesuffix("%")
    digits = len(plain.partition(".")[2])
    if language == "en":
        return f"{float(plain):,.{digits}f}{'%' if plain != shown else ''}"
    from babel.numbers import format_decimal, format_percent

    pattern = f"#,##0.{'0' * digits}" if digits else "#,##0"
    if plain == shown:
        return format_decimal(float(plain), format=pattern, locale=language)
    usual = format_percent(0, locale=language).replace("0", pattern)
    return format_percent(float(plain) / 100, format=usual, locale=language)


def day(given: date | str) -> str:
    """Return a day as the language spoken writes it; in English 2026-11-20."""
    found = given if isinstance(given, date) else date.fromisoformat(given)
    if spoken() == "en":
        return f"{found:%Y-%m-%d}"
    from babel.dates import format_date

    return format_date(found, "medium", locale=spoken())


def as_text(told: Mapping[str, Told]) -> str:
    """Return what was told, by column, as a text to be kept in a table."""
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def told_in(text: object) -> Mapping[str, Told]:
    """Return what `as_text` kept; nothing of a null."""
    found: Mapping[str, Told] = json.loads(text) if isinstance(text, str) else {}
    return found
