"""How numbers and money are written: signs, currencies, thousands, the decimal sign.

The decimal sign is decided over the whole column. Where nothing in it decides, as with nothing but 1,234, the rows that
could be a thousand times as much are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lapse.core.tables.contract import DUCKDB_TYPES
from lapse.history.reading.expressions import literal
from lapse.history.validation.spelling import PARSED, Delivered, Doubt, Spelling, decides, full_match, replaced, text_of

DECIMAL = DUCKDB_TYPES["decimal"]
PLAIN = r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"
"""What every program writes; 1.234 among nothing but such numbers of three decimals is not plain."""
SAME_CURRENCY = {
    "€": "EUR", "EURO": "EUR", "EUROS": "EUR", "$": "USD", "US$": "USD", "£": "GBP", "¥": "JPY", "円": "JPY", "元": "CNY",
    "₹": "INR", "RS": "INR", "RS.": "INR", "₽": "RUB", "РУБ": "RUB", "РУБ.": "RUB", "₺": "TRY", "₩": "KRW", "₪": "ILS",
    "₫": "VND", "฿": "THB", "₴": "UAH", "₦": "NGN", "₱": "PHP", "₡": "CRC", "₲": "PYG", "₵": "GHS", "₸": "KZT",
    "ZŁ": "PLN", "KČ": "CZK", "FT": "HUF", "LEI": "RON", "ЛВ": "BGN", "ЛВ.": "BGN", "FR.": "CHF", "SFR.": "CHF",
    "R$": "BRL", "C$": "CAD", "CA$": "CAD", "A$": "AUD", "AU$": "AUD", "NZ$": "NZD", "HK$": "HKD", "S$": "SGD",
    "MX$": "MXN", "NT$": "TWD", "KR": "kr", "KR.": "kr",
}  # fmt: skip
CODES = (
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD", "BIF", "BMD",
    "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLP", "CNY", "COP", "CRC", "CUP", "CVE",
    "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GNF",
    "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS",
    "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD",
    "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR",
    "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK",
    "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD",
    "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS", "VES", "VND", "VUV", "WST", "XAF", "XCD", "XOF", "XPF", "YER", "ZAR",
    "ZMW",
)  # fmt: skip
"""ISO 4217, but for precious metals and the like."""
MARK = r"[^-0-9.,'()+ %][^-0-9,'()+ %]{0,4}"
"""What may be a currency; whether it is one, the lists above say."""
DIGIT_SHAPE = "0111111111"
"""A leading zero tells 0,234 from 1,234; which digit the others are does not matter."""
NUMBER = r"(?:[0-9][0-9.,' ]*|[.,])?[0-9](?:[eE][+-]?[0-9]+)?"
WRITTEN = rf"(?i)^(\()? ?([+-])? ?({MARK})? ?([+(-])? ?({NUMBER})([.,](?:-{{1,2}})?)? ?(-)? ?({MARK})? ?(-)? ?(\))?$"
PARTS = ("opened", "sign", "before", "inner", "digits", "dash", "after", "behind", "last", "closed")
SIGNS = ("opened", "sign", "inner", "after", "last")
GROUP_SIGNS = ", '"
GROUPED = (
    r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?"
    r"|(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,3}(?:'\d{3})+)(?:\.\d*)?"
)
"""Where the decimal sign is a point: plain digits, or groups of three."""
INDIAN = r"\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d*)?"
"""1,23,456.70: groups of two before the last three, always with a point as the decimal sign."""
ONLY_POINT = (
    r"\d*\.(?:\d{1,2}|\d{4,})?(?:[eE].*)?|\d{4,}\.\d{3}|0\d*\.\d{3}|\.\d+|\d[\d ']*[ ']\d{3}\.\d*|\d[\d,]*,\d{3}\.\d*"
    r"|\d{1,3}(?:,\d{3}){2,}"
)
"""What can be read only with a point as the decimal sign; with the signs exchanged, only with a comma."""
NO_SIGN = r"\d+|\d{1,3}(?: \d{3})+|\d{1,3}(?:'\d{3})+"
PERCENT = r"([0-9]) ?%$"
EITHER = r"[1-9]\d{0,2}[.,]\d{3}"
Sign = Literal[".", ",", "each", "unknown"]


@dataclass(frozen=True)
class Number:
    """What kind of number a column holds, and what its messages call it."""

    place: str
    """Its table and column of ours, as in params: sources.transactions."""
    name: str
    is_money: bool
    percent: str | None = None
    """The SQL by which a percentage is multiplied; None where 10 % is no value of this column."""


def number_spelling(given: Delivered, raw: str, number: Number, decimal: str | None) -> Spelling:
    """Return how a delivered column of numbers is read; `decimal`: the sign that params name, None to find it out."""
    if given.type == "BOOLEAN":
        return Spelling(f"NULL::{DECIMAL}")
    if given.type != "VARCHAR":
        return Spelling(f"try_cast({raw} AS {DECIMAL})")
    text = text_of(raw, given.type)
    plain = (f"NOT {full_match('t', PLAIN)}", full_match("t", f"[+-]?{EITHER}"), full_match("t", f"[+-]?(?:{ONLY_POINT})"))
    odd, either, points = _counts(given, plain)
    if not odd and decimal != "," and (decimal == "." or not either or decides(0, points, either)):
        return Spelling(f"try_cast({text} AS {DECIMAL})")
    sign, counts = _decimal_sign(given, decimal, "t" if number.percent is None else replaced("t", PERCENT, r"\1"))
    value = f"CASE WHEN {_fits_together(number)} THEN {_sign_of(PARSED)} * {_reading(_body(PARSED), sign)} END"
    parsed = text
    if number.percent is not None:
        value = f"({value}) * CASE WHEN contains({text}, '%') THEN {number.percent} ELSE 1 END"
        parsed = replaced(text, PERCENT, r"\1")
    doubts, notes = [], []
    if sign in ("each", "unknown"):
        doubts.append(Doubt(
            f"{number.name} could be a thousand times as much: its decimal sign is not known",
            full_match(_body(PARSED), EITHER),
            f"{counts} Write decimal: \".\" under {number.place} when 1,234 is more than a thousand, decimal: \",\" when "
            "it is little more than one (and the other way round for 1.234).",
        ))  # fmt: skip
    elif decimal is None and sign == ",":
        notes.append(f"{number.name} was read with a comma as the decimal sign")
    if number.is_money:
        main, found = _currency(given)
        if main is not None and found > 1:
            doubts.append(Doubt(
                f"{number.name} is in another currency than {main}",
                f"coalesce({_currency_of(PARSED)} <> {literal(main)}, false)",
                f"The amounts of a column are added up. Convert the rest to {main}, or deliver one currency only.",
            ))  # fmt: skip
        if main is not None:
            notes.append(f"{number.name} was read as {main}")
    return Spelling(f"try_cast({value} AS {DECIMAL})", tuple(doubts), tuple(notes), _written(parsed))


def _counts(given: Delivered, conditions: Sequence[str], parsed: str = "t") -> list[int]:
    """Return how many rows fulfil each of some conditions on their shape."""
    sums = ", ".join(f"sum(copies) FILTER ({condition})" for condition in conditions)
    return [int(count or 0) for count in given.rows(sums, parsed=parsed, digits=DIGIT_SHAPE)[0]]


def _written(text: str) -> str:
    """Return the SQL of the parts of a number as it is written, all empty where it is none."""
    plain = f"translate({text}, {literal('−–—’´`')}, {literal(chr(45) * 3 + chr(39) * 3)})"
    return f"regexp_extract({plain}, {literal(WRITTEN)}, [{', '.join(literal(name) for name in PARTS)}])"


def _body(written: str) -> str:
    """Return the SQL of a number's digits with their signs; 12,- is 12,00."""
    return f"({written}.digits || CASE WHEN {written}.dash <> '' THEN left({written}.dash, 1) || '00' ELSE '' END)"


def _fits_together(number: Number) -> str:
    """Return the SQL that says that the parts fit: one sign at most, brackets in pairs, a currency only with money."""
    signs = " + ".join(f"({PARSED}.{name} <> '')::INT" for name in SIGNS)
    fits = f"('(' IN ({PARSED}.opened, {PARSED}.inner)) = ({PARSED}.closed <> '') AND {signs} <= 1"
    known = ", ".join(literal(mark) for mark in ("", *SAME_CURRENCY, *CODES)) if number.is_money else "''"
    return f"{fits} AND upper({PARSED}.before) IN ({known}) AND upper({PARSED}.behind) IN ({known})"


def _sign_of(written: str) -> str:
    signs = ", ".join(f"{written}.{name}" for name in SIGNS)
    return f"CASE WHEN '-' IN ({signs}) OR '(' IN ({signs}) THEN -1 ELSE 1 END"


def _reading(body: str, sign: Sign) -> str:
    """Return the SQL of a number's digits by a decimal sign; null where they are no number by it."""
    exchanged = f"translate({body}, '.,', ',.')"
    if sign == ".":
        return _plain_number(body, f"{GROUPED}|{INDIAN}")
    if sign == ",":
        return _plain_number(exchanged)
    return (
        f"CASE WHEN {full_match(body, f'{ONLY_POINT}|{NO_SIGN}|{INDIAN}')} THEN {_reading(body, '.')} "
        f"WHEN {full_match(exchanged, ONLY_POINT)} THEN {_plain_number(exchanged)} END"
    )


def _plain_number(body: str, pattern: str = GROUPED) -> str:
    bare = f"translate({body}, {literal(GROUP_SIGNS)}, '')"
    return f"CASE WHEN {full_match(body, pattern)} THEN try_cast({bare} AS {DECIMAL}) END"


def _decimal_sign(given: Delivered, decimal: str | None, text: str) -> tuple[Sign, str]:
    """Return the decimal sign of a column, and in words the counts of what can be read with either."""
    if decimal is not None:
        return ("." if decimal == "." else ","), ""
    body = _body("p")
    exchanged = f"translate({body}, '.,', ',.')"
    signs = full_match(body, f"{ONLY_POINT}|{INDIAN}"), full_match(exchanged, ONLY_POINT), full_match(body, EITHER)
    points, commas, either = _counts(given, signs, _written(text))
    counts = (f"With a point as the decimal sign {points + either:,} such values can be read, with a comma "
              f"{commas + either:,}; {either:,} with either.")  # fmt: skip
    if decides(commas, points, either):
        return ".", counts
    if decides(points, commas, either):
        return ",", counts
    if points and commas:
        return "each", counts
    return ("unknown" if either else "."), counts


def _currency_of(written: str) -> str:
    """Return the SQL of a value's currency; null where it names none."""
    mark = f"nullif(upper(coalesce(nullif({written}.behind, ''), {written}.before)), '')"
    keys = ", ".join(literal(mark) for mark in SAME_CURRENCY)
    values = ", ".join(literal(code) for code in SAME_CURRENCY.values())
    codes = ", ".join(map(literal, CODES))
    return f"coalesce([{values}][list_position([{keys}], {mark})], CASE WHEN {mark} IN ({codes}) THEN {mark} END)"


def _currency(given: Delivered) -> tuple[str | None, int]:
    """Return the most frequent currency of a column, None without any, and how many there are."""
    rows = given.rows(f"{_currency_of('p')}, copies", f"{_currency_of('p')} IS NOT NULL", _written("t"), digits=DIGIT_SHAPE)
    counts: dict[str, int] = {}
    for mark, copies in rows:
        counts[mark] = counts.get(mark, 0) + int(copies)
    return min(counts, key=lambda mark: (-counts[mark], mark), default=None), len(counts)
