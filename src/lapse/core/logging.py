"""What lapse reports while it works: one logger per stage, shown on the console as `stage: message`.

The library logs and never prints; a program that imports lapse decides for itself where that goes. lapse's own programs, the
stage files and the command line, call `log_to_console`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

ROOT = "lapse"


def stage_logger(stage: str) -> logging.Logger:
    """Return the logger of a stage or command, e.g. `train`."""
    return logging.getLogger(f"{ROOT}.{stage}")


def printable(text: str) -> str:
    r"""Return a text without what moves a terminal's cursor, changes its colours or turns the direction of writing.

    Such characters are written out, as \x1b; line breaks and tabs are blanks.
    """
    return "".join(
        char if char.isprintable() or char == " " else " " if char in "\n\r\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def shown(text: str) -> str:
    """Return a text of several lines as a terminal may get it: line by line `printable`."""
    return "\n".join(printable(line) for line in text.split("\n"))


class _Json(logging.Formatter):
    """Writes a record as one line of JSON with its time, for programs that collect logs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; what a program passes as `step` stands in it under its own names."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(), "stage": record.name.removeprefix(f"{ROOT}."),
            "message": record.getMessage().rstrip(), **getattr(record, "step", {}),
        }  # fmt: skip
        return json.dumps(line, ensure_ascii=True)


def json_error(stage: str, message: str, exit_code: int) -> str:
    """Return the line of JSON that says how a command failed."""
    told = {"name": f"{ROOT}.{stage}", "levelname": "ERROR", "msg": message, "step": {"exit_code": exit_code}}
    return _Json().format(logging.makeLogRecord(told))


class _Console(logging.StreamHandler[Any]):
    """Writes to whatever standard output is at that moment, so that it can be redirected."""

    @property
    def stream(self) -> Any:
        return sys.stdout

    @stream.setter
    def stream(self, _: Any) -> None:
        pass

    def format(self, record: logging.LogRecord) -> str:
        if self.formatter is not None:
            return self.formatter.format(record)
        # The stage stands before the first line only: a report that follows keeps its own layout.
        return shown(f"{record.name.removeprefix(f'{ROOT}.')}: {record.getMessage()}".rstrip())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        # A closed pipe ends the program, as it does for print.
        error = sys.exc_info()[1]
        if isinstance(error, BrokenPipeError):
            raise error
        super().handleError(record)


def log_to_console() -> None:
    """Show what lapse logs, from INFO up, on standard output. Calling it again changes nothing."""
    logger = logging.getLogger(ROOT)
    if not any(isinstance(handler, _Console) for handler in logger.handlers):
        logger.addHandler(_Console())
    logger.setLevel(logging.INFO)


@contextmanager
def json_lines() -> Iterator[None]:
    """Write every line that `log_to_console` shows within the block as JSON."""
    handlers = [handler for handler in logging.getLogger(ROOT).handlers if isinstance(handler, _Console)]
    for handler in handlers:
        handler.setFormatter(_Json())
    try:
        yield
    finally:
        for handler in handlers:
            handler.setFormatter(None)
