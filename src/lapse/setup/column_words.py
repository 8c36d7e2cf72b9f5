"""What deliveries call our columns (column_words.yaml), and how sure it is that a column is meant."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from lapse.core.plain_text import plain_text

DAY, CUSTOMER, FOR_EYES = "day", "customer_id", "for_eyes"
STATUS, NOT_COUNTED, CURRENCY = "status", "not_counted", "currency"
"""Entries beside those that bear the name of a column of ours."""
JOINING = frozenset(["d", "da", "de", "del", "der", "des", "di", "do", "du", "la", "le", "of", "the", "van"])
"""Words inside a name that say nothing: date de la commande."""
WITH_TAX = re.compile(
    r"(?<=\S)[\W_]+(?:incl|excl|inkl|exkl|including|excluding|inclusief|exclusief)\b[\W_]*(?:btw|mwst|ust|vat|tax|gst|iva|tva|mva|moms)\b"
)
"""With or without tax, it is the same amount: Bedrag incl. btw. A tax alone is none: BTW-bedrag."""
UNIT = re.compile(
    r"(?<=\S)\s*[([（](?:utc|gmt|local|local time|eur|usd|gbp|chf|pln|nok|sek|dkk|jpy|[€$£¥円]|zl|kr|st\.?|stk\.?|pcs"
    r"|税込|税抜)[)\]）]"
)
"""The clock or the currency behind a name: Start Date (UTC)."""


def plain_name(name: str) -> str:
    """Return a column's name as it is compared: without accents, spaces, signs and joining words, in lower case.

    A percentage keeps its sign, since `discount %` is no amount.
    """
    words = re.findall(r"%|[^\W_]+", WITH_TAX.sub(" ", UNIT.sub(" ", plain_text(name))))
    return "".join(word for word in words if word not in JOINING) or "".join(words)


def rank_of(name: str, meant: str) -> int | None:
    """Return how sure it is that a name is what an entry means, 0 the surest; None where it is not, or nobody knows."""
    return _words().get(meant, {}).get(plain_name(name))


@cache
def _words() -> dict[str, dict[str, int]]:
    from ruamel.yaml import YAML

    text = (resources.files("lapse") / "setup" / "column_words.yaml").read_text(encoding="utf-8")
    entries = YAML(typ="safe").load(text)
    ids = [plain_name(str(word)) for word in entries.pop("ids")]
    return {
        meant: {name: place for place, word in reversed(list(enumerate(words))) for name in _names(str(word), ids)}
        for meant, words in entries.items()
    }


def _names(word: str, ids: list[str]) -> list[str]:
    """Return the names that a word of column_words.yaml stands for: `customer#` for customerid, nocustomer and so on."""
    bare = plain_name(word)
    return [name for of in ids for name in (bare + of, of + bare)] if word.endswith("#") else [bare]
