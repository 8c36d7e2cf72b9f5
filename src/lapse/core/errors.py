"""What can go wrong, and which exit code and message it ends in.

    LapseError                 exit 1: anything below, when nothing more exact fits
    ├── EngineError            exit 1: a table could not be computed (core/engine_errors.py)
    ├── SettingsError          exit 2: params.yaml is wrong
    ├── DataError              exit 3: the data cannot be used as they are
    │   └── HistoryTooShort    exit 3: the log does not cover the windows asked for
    ├── ModelError             exit 4: there is no model, or it does not fit the data
    ├── PromotionRefused       exit 5: the gate does not let the model become the champion
    ├── StaleData              exit 6: a table is gone or too old for what a model learned from it
    ├── Drifted                exit 7: the risks have moved further than params allow
    ├── Locked                 exit 8: another run writes to the same outputs
    └── PublishFailed          exit 9: a database did not take what was to be published

A message names the table, column, count and up to three sample keys, and ends with the next step.
"""

from __future__ import annotations

from collections.abc import Sequence

from lapse.core.logging import printable


class LapseError(Exception):
    """Anything that lapse refuses; the message is written for the person who reads it."""

    exit_code = 1


class SettingsError(LapseError):
    """params.yaml holds something that lapse cannot follow."""

    exit_code = 2


class DataError(LapseError):
    """The data cannot be used as they are."""

    exit_code = 3


class HistoryTooShort(DataError):
    """The log does not cover the windows that were asked for."""


class ModelError(LapseError):
    """There is no model, or it does not fit the data that it is given."""

    exit_code = 4


class PromotionRefused(LapseError):
    """The gate does not let the model become the champion."""

    exit_code = 5


class StaleData(LapseError):
    """A table of the delivery is gone or too old: the risks that a model would tell from it are not the customers'."""

    exit_code = 6


class Drifted(LapseError):
    """The scores have moved further than params allow: more likely a fault of the delivery than of the customers."""

    exit_code = 7


class Locked(LapseError):
    """Another run writes to the same outputs."""

    exit_code = 8


class PublishFailed(LapseError):
    """A database did not take what was to be published; what it showed before, it still shows."""

    exit_code = 9


def sample_keys(keys: Sequence[object]) -> str:
    """Return the first three keys as text; no message ever carries more."""
    shown = ", ".join(printable(str(key)) for key in keys[:3])
    return f"{shown}, …" if len(keys) > 3 else shown


def first_line(error: BaseException) -> str:
    """Return the first line of an error without its full stop, short enough to read."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].strip().rstrip(".")
    return line if len(line) <= 300 else f"{line[:300]}…"


def unusable(error: OSError) -> str:
    """Return a message that names what failed in the file system or a connection, and the next step."""
    if isinstance(error, ConnectionError):
        return f"a connection broke ({error}). A database, a tracking server or Spark ended; its last messages stand above."
    what, why = error.filename or "a file", error.strerror or error
    return f"{what} cannot be used ({why}). Check the path, who may write there, and the disk."
