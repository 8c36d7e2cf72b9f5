"""What a validated delivery holds: the one page that later stages read instead of the settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from lapse.core.errors import DataError
from lapse.core.files import read_json, write_json
from lapse.core.windows import Period


@dataclass(frozen=True)
class DataProfile:
    """What a validated delivery holds: its period, which columns it gave, which event types, which scale."""

    period: Period
    columns: dict[str, list[str]]
    event_types: list[str] = field(default_factory=list)
    rating_scale: tuple[float, float] | None = None
    median_gap_days: int | None = None
    """Half of the pauses between two purchase days of a customer last so long or less; None when nobody came back."""
    attributes: dict[str, list[str]] = field(default_factory=dict)
    """Attribute of the customers -> its most frequent values; none of them for a number."""
    has_time_of_day: bool = False
    """Orders are dated by the minute, not by the day."""

    @property
    def given(self) -> frozenset[str]:
        """What features may need: the delivery's columns of transactions, its other tables, `comment`, `time_of_day`."""
        marks = {"comment"} & set(self.columns.get("feedback", ())) | ({"time_of_day"} if self.has_time_of_day else set())
        return frozenset(self.columns["transactions"]) | (frozenset(self.columns) - {"transactions"}) | marks

    def write(self, path: Path) -> None:
        """Write the profile as JSON."""
        content = asdict(self)
        content["period"] = {name: str(day) for name, day in asdict(self.period).items()}
        write_json(path, content)

    @classmethod
    def read(cls, path: Path) -> DataProfile:
        """Return the profile that `write` wrote; DataError when there is none."""
        if not path.exists():
            raise DataError(f"{path} is not there. Run `dvc repro`, which makes it.")
        content: dict[str, Any] = read_json(path)
        period = Period(**{name: date.fromisoformat(day) for name, day in content.pop("period").items()})
        scale = content.pop("rating_scale")
        return cls(period=period, rating_scale=tuple(scale) if scale else None, **content)
