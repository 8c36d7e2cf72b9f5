"""What an engine finds wrong, as one message: the table, the cause, the next step, the SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lapse.core.errors import LapseError, first_line

SQL_SHOWN = 400
DISK_FULL = ("no space left", "not enough space", "max_temp_directory_size", "disk quota exceeded")
SPARK_MEMORY, DUCKDB_MEMORY = "java heap space", "out of memory"


class EngineError(LapseError):
    """The engine could not compute a table; the message holds its name, the cause and the SQL."""


@contextmanager
def explain_failure(
    table: str, sql: str | Callable[[], str] = "", kinds: tuple[type[Exception], ...] = (Exception,)
) -> Iterator[None]:
    """Raise whatever an engine finds wrong, of some kinds of error, as an EngineError that names table, cause and SQL."""
    try:
        yield
    except LapseError:
        raise
    except kinds as error:
        query = " ".join((sql() if callable(sql) else sql).split())
        shown = query if len(query) <= SQL_SHOWN else f"{query[:SQL_SHOWN]}… ({len(query):,} characters)"
        advice = machine_fault(error) or "This is a fault of lapse or of the engine: please report it with this message."
        raise EngineError(f"{table} could not be computed ({type(error).__name__}: {first_line(error)}). {advice}"
                          f"{f' SQL: {shown}' if shown else ''}") from error  # fmt: skip


def machine_fault(error: Exception) -> str:
    """Return what to do where the machine is at fault, not the data or the query; empty where it is not."""
    text = str(error).lower()
    # A spill folder that is full counts as out of memory to DuckDB: so the disk is asked about first.
    if any(sign in text for sign in DISK_FULL):
        return "The disk is full, or has no room for more files: free space on it, or point TMPDIR to another one."
    if SPARK_MEMORY in text:
        return "The memory did not suffice: set LAPSE_SPARK_CONF, e.g. to spark.driver.memory=8g;spark.executor.memory=8g."
    if DUCKDB_MEMORY in text:
        return "The memory did not suffice: set LAPSE_MEMORY_LIMIT, e.g. to 12GB, or close what else needs memory."
    return ""
