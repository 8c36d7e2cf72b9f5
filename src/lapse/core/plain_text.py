"""Text as it is compared: without accents, in lower case."""

from __future__ import annotations

import unicodedata

NOT_DECOMPOSED = str.maketrans({"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "ß": "ss"})


def plain_text(text: str) -> str:
    """Return a text without accents, in lower case; signs and spaces stay."""
    decomposed = unicodedata.normalize("NFKD", text.translate(NOT_DECOMPOSED))
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()
