"""What the evaluation says of the lists: whether they may be used, what churn means, whether they would have paid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lapse.core.churn_meaning import ChurnMeaning
from lapse.core.files import intact, read_json
from lapse.value.list_back_test import ListBackTest


@dataclass(frozen=True)
class Verdict:
    """What stage evaluate found; all None without an evaluation, and where an older lapse made it."""

    caution: str | None = None
    """What stands on every list."""
    meaning: ChurnMeaning | None = None
    """Whether churn is a loss or a pause."""
    grade: str | None = None
    """The letter of the model's evaluation."""
    back_test: ListBackTest | None = None
    """What such a list would have earned; None also without orders that have amounts."""

    @classmethod
    def read(cls, metrics: Path, *, is_champion: bool = False) -> Verdict:
        """Return the verdict in a metrics.json; an empty one where there is none.

        A model that looks too good to be true (evaluation/alarm.py) is a caution, unless it is the champion: then somebody
        has said why it is right.
        """
        if not metrics.exists():
            return cls()
        again = "`dvc repro --force evaluate`"
        found = read_json(metrics, again)
        with intact(metrics, again):
            meaning, tried = found.get("churn_meaning"), found.get("list_back_test")
            grade = found.get("grade") or {}
            alarm = None if is_champion else grade.get("alarm")
            doubt = f"too good to be true: {alarm['why']}. Look for what could not be known on the day" if alarm else None
            return cls(
                "; ".join(filter(None, [doubt, found.get("caution")])) or None,
                ChurnMeaning.from_json(meaning) if meaning else None,
                grade.get("grade"),
                ListBackTest.from_json(tried) if tried else None,
            )

    def allows_a_list(self, *, at_a_loss: bool) -> bool:
        """Return whether the list as a whole may hold anybody: not where it would have lost money, unless params say so."""
        return at_a_loss or self.back_test is None or not self.back_test.loses
