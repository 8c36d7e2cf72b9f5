"""One benchmark run: where the logs are, how everything is run, and what has been measured so far."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lapse.core.files import write_text
from measure import Measured, measure


@dataclass
class Bench:
    """The choices of the command line, and the results by (lines of the log, name).

    What was measured is also kept beside the logs, with what earlier runs of as many cutoffs and threads measured, so that
    nothing is lost where a run of hours is ended.
    """

    data: Path
    threads: int
    cutoffs: int
    rivals_python: str
    time_limit: float
    parts: list[str]
    results: dict[tuple[int, str], Measured] = field(default_factory=dict)

    def run(self, lines: int, name: str, function: str, arguments: dict[str, Any], python: str = sys.executable) -> Measured:
        """Measure a function, note the result under (lines, name), print and return it."""
        plain = {key: str(value) if isinstance(value, Path) else value for key, value in arguments.items()}
        found = measure(function, plain, python, self.threads, self.time_limit)
        self.note(lines, name, found)
        return found

    def note(self, lines: int, name: str, found: Measured) -> None:
        """Remember and print what was measured, or why it was not."""
        self.results[lines, name] = found
        rows = [[lines, name, asdict(found)] for (lines, name), found in (self.earlier() | self.results).items()]
        write_text(self._file(), json.dumps(rows))
        said = found.failure or f"{found.seconds:,.1f} s, {found.cpu_seconds:,.1f} CPU s, {found.peak_mib:,.0f} MiB"
        print(f"benchmark: {lines:,} lines: {name}: {said}", flush=True)

    def earlier(self) -> dict[tuple[int, str], Measured]:
        """Return what earlier runs in the same folder measured."""
        rows = json.loads(self._file().read_text(encoding="utf-8")) if self._file().exists() else []
        return {(lines, name): Measured(**found) for lines, name, found in rows}

    def _file(self) -> Path:
        return self.data / f"results-{self.cutoffs}-cutoffs-{self.threads}-threads.json"

    def lapse(
        self, lines: int, name: str, log: Path, work: Path, cutoffs: int, again: bool = False, only: Sequence[str] = ()
    ) -> Measured:
        """Measure lapse's stages over a validated log; `only`: the features to make, none: all."""
        function = "lapse_features.run_again" if again else "lapse_features.run"
        params = self.folder(lines) / "params.yaml"
        chosen = {"params": params, "validated": log, "work": work, "cutoffs": cutoffs, "threads": self.threads}
        return self.run(lines, name, function, chosen | ({"only": list(only)} if only else {}))

    def folder(self, lines: int) -> Path:
        """Return where the log of a size is stored."""
        return self.data / str(lines)

    @contextmanager
    def work(self) -> Iterator[Path]:
        """Yield an empty folder beside the logs that is gone when the block ends."""
        with tempfile.TemporaryDirectory(prefix="work-", dir=self.data) as folder:
            yield Path(folder)
