"""Stage retention, put together: everything about who stays that needs no model, as tables and one page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ibis.expr.types as ir

from lapse.core.engine import Engine
from lapse.core.errors import SettingsError
from lapse.core.logging import stage_logger
from lapse.core.settings import Retention
from lapse.core.tables import ATTRIBUTE, RETENTION, RETENTION_MOVES, nearest
from lapse.core.windows import Period
from lapse.retention.always_on import AlwaysOn, always_on
from lapse.retention.output import write_table
from lapse.retention.spells import trusted_from

LOG = stage_logger("retention")


@dataclass(frozen=True)
class Measured:
    """What stage retention has counted, before it is written."""

    always_on: AlwaysOn


def measure(
    engine: Engine, activity: Mapping[str, ir.Table], period: Period, settings: Retention, *, mode: str
) -> Measured:
    """Return everything that stage retention counts; SettingsError for an attribute that the customers do not have."""
    given = [name.removeprefix(ATTRIBUTE) for name in activity["attributes"].columns if name.startswith(ATTRIBUTE)]
    for name in settings.by:
        if name not in given:
            raise SettingsError(f"retention.by: {name!r} is no attribute of the customers. {nearest(name, given)}")
    trusted = trusted_from(engine, activity, period, mode)
    LOG.info(f"who is seen for the first time counts as new from {trusted} on; before, N and CRR are left out of the daily "
             "figures")  # fmt: skip
    figures = always_on(
        engine, activity, period, settings.active_days, mode=mode, trailing_days=settings.trailing_days, by=settings.by,
        trusted=trusted,
    )  # fmt: skip
    return Measured(figures)


def write_measured(measured: Measured, folder: Path) -> None:
    """Write every table of data/retention as Parquet and CSV."""
    write_table(measured.always_on.figures, RETENTION, folder)
    write_table(measured.always_on.moves, RETENTION_MOVES, folder)
