"""How long each step of a run took and how much memory it had used by then; said as it goes, kept in the manifest."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lapse.core.logging import stage_logger
from lapse.night.manifest import Step

LOG = stage_logger("score")


@dataclass
class Steps:
    """The steps of a run, in their order."""

    done: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a block, and log that it ended."""
        began, worked = time.perf_counter(), time.process_time()
        yield
        step = Step(
            name=name, seconds=round(time.perf_counter() - began, 2), cpu_seconds=round(time.process_time() - worked, 2),
            peak_mib=_peak_mib(),
        )  # fmt: skip
        self.done.append(step)
        LOG.info(f"{name}: {step.seconds:.1f} s", extra={"step": step.model_dump()})


def _peak_mib() -> int | None:
    """Return the most memory that the process has held so far; Linux counts in KiB, macOS in bytes, Windows not at all."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / 1024 if sys.platform != "darwin" else peak / 1024**2)
