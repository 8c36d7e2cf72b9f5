"""What a validated delivery holds: the one page that later stages read instead of the settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from lapse.errors import DataError
from lapse.files import read_json, write_json
from lapse.windows import Period


@dataclass(frozen=True)
class Contents:
    """What a validated delivery holds: its period, which columns it gave, which event types, which scale."""

    period: Period
    columns: dict[str, list[str]]
    event_types: list[str] = field(default_factory=list)
    rating_scale: tuple[float, float] | None = None

    @property
    def given(self) -> frozenset[str]:
        """The columns of transactions that the delivery has, and the names of the other tables it has."""
        return frozenset(self.columns["transactions"]) | (frozenset(self.columns) - {"transactions"})

    def write(self, path: Path) -> None:
        """A path in, the contents as JSON there."""
        content = asdict(self)
        content["period"] = {name: str(day) for name, day in asdict(self.period).items()}
        write_json(path, content)

    @classmethod
    def read(cls, path: Path) -> Contents:
        """The path that `write` wrote in, the contents out."""
        if not path.exists():
            raise DataError(f"{path} is not there. Run `dvc repro`, which makes it.")
        content: dict[str, Any] = read_json(path)
        period = Period(**{name: date.fromisoformat(day) for name, day in content.pop("period").items()})
        scale = content.pop("rating_scale")
        return cls(period=period, rating_scale=tuple(scale) if scale else None, **content)
