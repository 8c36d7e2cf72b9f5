"""How a flag says yes and no: the words that everybody uses, and those that params declare."""

from __future__ import annotations

from lapse.core.source_settings import Words, folded
from lapse.history.reading.expressions import literal
from lapse.history.validation.spelling import text_of

YES = ("true", "t", "yes", "y", "1", "ja", "j", "oui", "si", "sí", "sì", "sim", "tak", "はい")
NO = ("false", "f", "no", "n", "0", "nein", "nee", "nei", "non", "não", "nao", "nie", "いいえ")
"""English, German, Dutch, Norwegian, French, Spanish, Italian, Portuguese, Polish, Japanese."""


def flag_value(raw: str, raw_type: str, words: Words | None) -> str:
    """Return the SQL of a flag: true, false, or null for what is neither."""
    if raw_type == "BOOLEAN" and words is None:
        return raw
    text = f"lower({text_of(raw, raw_type)})"
    declared = ([folded(word) for word in words.yes], [folded(word) for word in words.no]) if words else ([], [])
    # A word that params declare means what they say, even 0 and 1.
    whens = [(declared[0], "true"), (declared[1], "false"), (YES, "true"), (NO, "false")]
    cases = " ".join(
        f"WHEN {text} IN ({', '.join(map(literal, listed))}) THEN {meaning}" for listed, meaning in whens if listed
    )
    return f"CASE {cases} END"
