"""What makes two delivered ids one: the text of an id whatever type it came in, and the spellings that params join."""

from __future__ import annotations

from collections.abc import Sequence

from lapse.core.engine import DuckEngine
from lapse.core.source_settings import ID_RULES, IdRule
from lapse.history.reading.expressions import literal

SPACES = "' ' || chr(9) || chr(10) || chr(11) || chr(13) || chr(160) || chr(65279)"
"""What is trimmed from both ends of every delivered text, as an SQL text."""
FLOATS = {"DOUBLE": 53, "FLOAT": 24}
"""Types of floating-point numbers, with the bits of whole numbers that they hold exactly."""
WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"})
CRUSHED = r"[+-]?\d([.,]\d+)?[eE]\+\d+"
"""A whole number that a spreadsheet or a float wrote in scientific notation: its last digits are gone."""
WRITTEN_AS_FLOAT = r"[+-]?\d+\.0+"
"""A whole number that passed through a float on its way into a text file: 17850.0."""
# Format and control characters, variation selectors, joiners and fillers: nobody sees them.
_INVISIBLE = r"[\p{Cf}\p{Cc}\x{034F}\x{115F}\x{1160}\x{3164}\x{FFA0}\x{FE00}-\x{FE0F}]"
_WIDE = "".join(map(chr, range(0xFF01, 0xFF5F))) + "\u3000"
_NARROW = "".join(map(chr, range(0x21, 0x7F))) + " "
_EMAIL: tuple[IdRule, ...] = ("unicode", "invisible", "case")


def id_text(raw: str, raw_type: str) -> str:
    """Return the SQL of the text of an id in a column of any type: 17850, 17850.0 and 17850.000 of numbers are 17850.

    Null for nothing, for NaN and for a text of spaces.
    """
    if raw_type in FLOATS:
        return (f"CASE WHEN isnan({raw}) THEN NULL WHEN {raw} = floor({raw}) AND abs({raw}) < 1e18 "
                f"THEN {raw}::HUGEINT::VARCHAR ELSE {raw}::VARCHAR END")  # fmt: skip
    if raw_type.startswith("DECIMAL"):
        return f"regexp_replace({raw}::VARCHAR, '\\.0+$', '')"
    if raw_type in WHOLE:
        return f"{raw}::VARCHAR"
    return f"nullif({trimmed(raw if raw_type == 'VARCHAR' else f'{raw}::VARCHAR')}, '')"


def trimmed(text: str) -> str:
    """Return the SQL of a delivered text without the spaces around it."""
    return f"trim({text}, {SPACES})"


def has_spaces(text: str) -> str:
    """Return the SQL of whether a text has spaces around it, or nothing else."""
    return f"({trimmed(text)} <> {text} OR {text} = '')"


def lost_digits(raw: str, raw_type: str) -> str | None:
    """Return the SQL of whether an id is a number with more digits than it was stored with; None where it cannot be."""
    if raw_type in FLOATS:
        return f"(abs({raw}) > {2 ** FLOATS[raw_type]} AND isfinite({raw}))"
    if raw_type == "VARCHAR":
        return f"regexp_full_match({trimmed(raw)}, {literal(CRUSHED)})"
    return None


def joined_id(text: str, rules: Sequence[IdRule]) -> str:
    """Return the SQL of the id that stands for all spellings of a customer that the rules of `sources.ids` join.

    unicode: one code for a letter and its accent, no full-width letters. invisible: no characters that nobody sees, one
    space for several. case: lower case. decimal: 17850.0 is 17850. zeros: 0017850 is 17850. email: the first three, and
    `Ann <ann@shop.com>` and `mailto:ann@shop.com` are ann@shop.com.
    """
    wanted = set(rules) | (set(_EMAIL) if "email" in rules else set())
    for rule in ID_RULES:
        if rule in wanted:
            text = _applied(rule, text)
    return text


def id_of(engine: DuckEngine, text: str, rules: Sequence[IdRule]) -> str:
    """Return the id under which a customer stands in the validated tables, given any of its delivered spellings."""
    found = engine.connection.execute(f"SELECT {joined_id(id_text(literal(text), 'VARCHAR'), rules)}").fetchall()[0][0]
    return str(found or text)


def _applied(rule: IdRule, text: str) -> str:
    if rule == "unicode":
        return f"nfc_normalize(translate({text}, {literal(_WIDE)}, {literal(_NARROW)}))"
    if rule == "invisible":
        seen = f"regexp_replace({text}, {literal(_INVISIBLE)}, '', 'g')"
        return f"nullif(trim(regexp_replace({seen}, '[\\p{{Z}}\\s]+', ' ', 'g')), '')"
    if rule == "case":
        return f"lower({text})"
    if rule == "email":
        address = f"regexp_replace({text}, '^[^<>]*<\\s*([^<>@\\s]+@[^<>@\\s]+)\\s*>$', '\\1')"
        return f"regexp_replace({address}, '^mailto:\\s*', '')"
    if rule == "decimal":
        return f"regexp_replace({text}, '^([+-]?\\d+)[.,]0+$', '\\1')"
    return f"regexp_replace({text}, '^0+(\\d+)$', '\\1')"
