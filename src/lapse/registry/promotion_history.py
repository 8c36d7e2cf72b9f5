"""models/promotions.jsonl: who moved the champion, when, why, from which version to which. Lines are only ever added.

Each line carries the hash of the line before it and its own, so that a changed, missing or exchanged line is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lapse.core.errors import ModelError, first_line
from lapse.core.files import text_sha256, write_text

PROMOTIONS = Path("models/promotions.jsonl")
Action = Literal["promoted", "refused", "rolled back"]


@dataclass(frozen=True)
class PromotionRecord:
    """One promotion, refusal or rollback. Versions are those of the registry; the hash of the bundle stands beside."""

    at: str
    """UTC, ISO 8601."""
    by: str
    action: Action
    registered_model: str
    from_version: int | None
    """The champion before; None: there was none."""
    to_version: int
    to_model_version: str
    forced: bool
    """The gate refused and was overruled."""
    reason: str | None
    checks: tuple[str, ...]
    number: int = 0
    previous: str = ""
    """The hash of the line before; empty in the first."""
    hash: str = ""

    def text(self) -> str:
        """Return the record as it stands in the file, without the line break."""
        return json.dumps(asdict(self), ensure_ascii=False)


def read_history(path: Path) -> list[PromotionRecord]:
    """Return the records of the history, oldest first; ModelError when one is not what was written.

    A missing file is an empty history.
    """
    records: list[PromotionRecord] = []
    if not path.exists():
        return records
    try:
        whole = path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise ModelError(f"{path} cannot be read ({first_line(error)}). {_restore(path)}") from None
    # Not splitlines: a reason may hold what Unicode calls a line separator.
    for number, text in enumerate(whole.removesuffix("\n").split("\n"), start=1):
        previous = records[-1].hash if records else ""
        try:
            spec: dict[str, Any] = json.loads(text)
            record = PromotionRecord(**{**spec, "checks": tuple(spec["checks"])})
        except (ValueError, TypeError, KeyError):
            raise ModelError(f"{path}: line {number} is not a line of the history. {_restore(path)}") from None
        if record.number != number or record.previous != previous or record.hash != _hash(record):
            raise ModelError(f"{path}: line {number} is not what was written there: its hash does not fit. {_restore(path)}")
        records.append(record)
    return records


def append(path: Path, records: Sequence[PromotionRecord], new: PromotionRecord) -> PromotionRecord:
    """Write the whole history with a new record, and return that record as numbered."""
    numbered = replace(new, number=len(records) + 1, previous=records[-1].hash if records else "")
    appended = replace(numbered, hash=_hash(numbered))
    write_text(path, "".join(f"{record.text()}\n" for record in (*records, appended)))
    return appended


def champions(records: Sequence[PromotionRecord]) -> list[int]:
    """Return the versions that rollback would go back through, the champion last.

    A promotion adds a version, a rollback takes one away, a refusal changes nothing.
    """
    stack: list[int] = []
    for record in records:
        if record.action == "promoted":
            stack.append(record.to_version)
        elif record.action == "rolled back":
            stack = stack[:-1]
    return stack


def champion_record(records: Sequence[PromotionRecord], number: int, chain_hash: str | None) -> PromotionRecord | None:
    """Return the record by which a version is the registry's champion; None where the history does not make it that.

    `chain_hash`: the record that the registry knows last. It is the one before the newest where a move was killed
    between its line and the registry; then the champion before it still is the champion.
    """
    moves, stack = [record for record in records if record.action != "refused"], champions(records)
    hashes = ["", *(record.hash for record in records)]
    interrupted = len(hashes) > 1 and (chain_hash or "") == hashes[-2] and number == records[-1].from_version
    if number not in stack[-1:] and not interrupted:
        return None
    return next((record for record in reversed(moves) if record.to_version == number), None)


def _hash(record: PromotionRecord) -> str:
    spec = asdict(record)
    del spec["hash"]
    return text_sha256(json.dumps(spec, sort_keys=True, ensure_ascii=False))


def _restore(path: Path) -> str:
    return f"Bring back the version that git has: `git checkout -- {path}`."
