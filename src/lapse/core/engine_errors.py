"""What an engine finds wrong, as one message: the table, the cause, the next step, the SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lapse.core.errors import LapseError, first_line

SQL_SHOWN = 400


class EngineError(LapseError):
    """The engine could not compute a table; the message holds its name, the cause and the SQL."""


@contextmanager
def explain_failure(table: str, sql: str | Callable[[], str] = "") -> Iterator[None]:
    """Raise whatever an engine finds wrong as an EngineError that names the table, the cause and the SQL."""
    try:
        yield
    except (LapseError, KeyboardInterrupt):
        raise
    except Exception as error:
        cause = first_line(error)
        short = " ".join((sql() if callable(sql) else sql).split())
        short = short if len(short) <= SQL_SHOWN else f"{short[:SQL_SHOWN]}… ({len(short):,} characters)"
        raise EngineError(f"{table} could not be computed ({type(error).__name__}: {cause}). {_advice(cause)}"
                          f"{f' SQL: {short}' if short else ''}") from error  # fmt: skip


def _advice(cause: str) -> str:
    lower = cause.lower()
    if "out of memory" in lower or "java heap space" in lower:
        return "The memory did not suffice: set LAPSE_MEMORY_LIMIT, e.g. to 12GB, or free space for the spill folder."
    if "no space left" in lower or "disk" in lower:
        return "Free space on the disk, or point TMPDIR to another one."
    return "This is a fault of lapse or of the engine: please report it with this message."
