"""What a delivery says, as a cell of CSV may hold it: no spreadsheet computes it, whatever separator it divides by."""

from __future__ import annotations

import re

FORMULA_STARTS = "=+\\-@\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66\ufe6b"
"""What begins a formula: = + - @, also of full width, small, and the mathematical minus."""
UNSEEN = (
    r"\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
)
"""Spaces, control and invisible characters: an importer may drop them before it looks at what begins a cell."""
BREAKS = r",;|\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029\uff0c\uff1b"
"""Where an importer that is told, or believes, another separator or does without quotes begins a cell inside a text."""
CELL_START = re.compile(f'(^|[{BREAKS}])(?=["{UNSEEN}]*[{FORMULA_STARTS}])|^(?=[\\t\\r])')


def without_formula(text: str) -> str:
    """Return a text that no spreadsheet runs: an apostrophe stands where a cell might begin with a formula."""
    return CELL_START.sub(lambda found: f"{found.group(1) or ''}'", text)
