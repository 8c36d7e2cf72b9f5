"""What deliveries call our columns (column_words.yaml), and how sure it is that a column is meant."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from lapse.core.plain_text import plain_text

DAY, CUSTOMER, FOR_EYES, STATUS = "day", "customer_id", "for_eyes", "status"
"""Entries beside those that bear the name of a column of ours."""


def plain_name(name: str) -> str:
    """Return a column's name as it is compared: without accents, spaces and signs, in lower case.

    A percentage keeps its sign, since `discount %` is no amount.
    """
    return re.sub(r"[^\w%]|_", "", plain_text(name))


def rank_of(name: str, meant: str) -> int | None:
    """Return how sure it is that a column is what an entry means, 0 the surest; None where it is not, or nobody knows."""
    return _words().get(meant, {}).get(plain_name(name))


@cache
def _words() -> dict[str, dict[str, int]]:
    from ruamel.yaml import YAML

    text = (resources.files("lapse") / "setup" / "column_words.yaml").read_text(encoding="utf-8")
    entries = YAML(typ="safe").load(text)
    return {
        meant: {plain_name(str(word)): place for place, word in reversed(list(enumerate(words)))}
        for meant, words in entries.items()
    }
