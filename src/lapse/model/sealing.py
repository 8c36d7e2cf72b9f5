"""The hashes in a model's description, by which a changed file is noticed before anything reads it.

They guard against damage and careless edits; whom they do not stop is somebody who writes new hashes. A champion is held
against its registry and history as well (registry/promotion.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lapse.core.files import file_sha256, text_sha256

SEAL = "sha256"
OWN = "description"
"""The entry of the description itself, beside those of its files."""


def sealed(description: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return a description with the sha256 of each text that is written beside it, and of what it says itself."""
    plain = json.loads(json.dumps(description))
    return {**plain, SEAL: {OWN: _own_hash(plain), **{name: text_sha256(text) for name, text in sorted(texts.items())}}}


def require_sealed(description: Mapping[str, Any], folder: Path) -> None:
    """Raise ValueError where a file, or the description itself, is not what was written.

    Descriptions of an earlier lapse have no hashes and pass.
    """
    if (hashes := description.get(SEAL)) is None:
        return
    if hashes[OWN] != _own_hash({name: value for name, value in description.items() if name != SEAL}):
        raise ValueError("its description is not what was written")
    for name, expected in hashes.items():
        file = folder / Path(name).name
        if name == OWN:
            continue
        if not file.exists():
            raise ValueError(f"{name} is missing")
        if file_sha256(file) != expected:
            raise ValueError(f"{name} is not what was written")


def _own_hash(plain: Mapping[str, Any]) -> str:
    return text_sha256(json.dumps(plain, sort_keys=True))
