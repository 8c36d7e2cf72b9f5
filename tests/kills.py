"""SIGKILL at random points of a command, many times over: a process that has imported everything forks each victim.

A few in CI, 200 of each command by `make test-kills`, which says how many were killed before they had ended.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KILLS = int(os.environ.get("LAPSE_KILLS", "200" if os.environ.get("LAPSE_TESTS") == "long" else "0"))
"""How often each command is killed; 0: as often as its test says."""


@dataclass
class Killer:
    """Runs a command in children of a process that has imported it."""

    process: subprocess.Popen[str]
    dice: random.Random
    spans: list[float] = field(default_factory=list)
    killed: int = 0
    tried: int = 0

    def run(self, *words: str) -> None:
        """Run the command to its end, and remember how long that takes."""
        began = time.monotonic()
        assert self._ask("-", words) == "0", words
        self.spans.append(time.monotonic() - began)

    def fails(self, *words: str) -> int:
        """Run the command, which must fail, and return its exit code; below 0: the signal that ended it."""
        code = int(self._ask("-", words))
        assert code, words
        return code

    def kill(self, *words: str) -> bool:
        """Kill the command somewhere between its start and its end; return whether it had not ended before."""
        ended = self._ask(str(self.dice.uniform(0, 1.05 * max(self.spans))), words)
        assert ended in ("-9", "0"), (words, ended)
        self.killed, self.tried = self.killed + (ended == "-9"), self.tried + 1
        if KILLS:
            print(f"{words}: {self.killed} of {self.tried} killed", file=sys.stderr)
        return ended == "-9"

    def _ask(self, seconds: str, words: tuple[str, ...]) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\t".join([seconds, *words]) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextmanager
def killer(command: str, seed: int = 7) -> Iterator[Killer]:
    """Yield what kills a command in the present folder; `command`: a function of `Commands`."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.kills", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env=environment,
    ) as process:  # fmt: skip
        yield Killer(process, random.Random(seed))
        assert process.stdin is not None
        process.stdin.close()


class Commands:
    """What may be killed. Each imports what it runs before the first child is made."""

    @staticmethod
    def score() -> Any:
        from lapse.night.run import score_once

        return lambda out, day: score_once(Path(), Path(out), as_of=day)

    @staticmethod
    def score_short_of() -> Any:
        """As `score`, with so many bytes of memory more than now, in files of so many bytes, or so many days ago."""
        import resource

        from lapse.night.run import score_once
        from lapse.workspace import Workspace

        def short(out: str, day: str, what: str = "", much: str = "0") -> Any:
            if what == "memory":
                held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
                resource.setrlimit(resource.RLIMIT_AS, (held + int(much), held + int(much)))
            if what == "files":
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(much), int(much)))
            if what == "clock":
                real = Workspace.today
                Workspace.today = lambda self: real(self) - timedelta(days=int(much))  # type: ignore[method-assign]
            if what == "DuckDB":
                os.environ["LAPSE_MEMORY_LIMIT"] = much
            return score_once(Path(), Path(out), as_of=day)

        return short

    @staticmethod
    def publish() -> Any:
        from lapse.night.publish import publish_latest

        return lambda out: publish_latest(Path(), Path(out), "sqlite:///crm.db", None)

    @staticmethod
    def monitor() -> Any:
        from lapse.night.monitor import monitor

        return lambda out: monitor(Path(), Path(out))

    @staticmethod
    def promote() -> Any:
        import mlflow  # noqa: F401

        from lapse.core.settings import Promote
        from lapse.registry.gate import GateSettings
        from lapse.registry.promotion import promote
        from tests.unit.registry.test_gate import WINDOWS

        gate = GateSettings(WINDOWS, Promote(max_ece=0.05, min_slope=0.6, max_slope=1.6, max_auroc_loss=0.02), 20, 1)
        return lambda number: list(promote(Path(), "lapse", int(number), gate, reason="a test", force=True))


def serve(command: str) -> None:
    """Run the command once per line of standard input: seconds until the kill, or -, and its words."""
    function = getattr(Commands, command)()
    for line in sys.stdin:
        seconds, *words = line.rstrip("\n").split("\t")
        child = os.fork()
        if not child:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            try:
                function(*words)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}"[:400], file=sys.stderr)
                os._exit(getattr(error, "exit_code", 1))
            os._exit(0)
        until = time.monotonic() + (600 if seconds == "-" else float(seconds))
        while not (done := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > until:
                os.kill(child, 9)
                done = os.waitpid(child, 0)
                break
            time.sleep(0.001)
        print(os.waitstatus_to_exitcode(done[1]), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
