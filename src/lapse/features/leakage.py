"""The leakage check: does anything after the cutoff move a feature? Nothing may.

Everything is computed twice, from the sources on: on the delivery as it is, and on the delivery as it stood at the end
of the cutoff. Each time the features are made in a process of its own (own_process.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from lapse.core.engine import open_duckdb
from lapse.core.process import temporary_folder
from lapse.core.settings import Features
from lapse.core.source_settings import Customers, Sources
from lapse.core.tables.sources import SOURCES
from lapse.core.windows import ChurnWindows
from lapse.features.own_process import Job, copy_own_features, run
from lapse.history.validation.validate import validate

Log = Mapping[str, ir.Table]
"""transactions, events, feedback, subscriptions and customers, as validated."""


@dataclass(frozen=True)
class Delivered:
    """A delivery that can be read again, whole or as it stood on a day."""

    sources: Sources
    timezone: str
    today: date
    counted_reasons: tuple[str, ...] | None
    """The reasons for which the end of a subscription is churn; None: all of them."""


@dataclass(frozen=True)
class LeakageReport:
    """What the leakage check found, and what it could not look at."""

    moved: Mapping[date, list[str]]
    """Cutoff -> the features that change when everything after it is gone from the delivery. None should."""
    refused: tuple[str, ...]
    """What features of your own tried beside using their day rows, e.g. `opens /data/orders.csv`."""
    undated: tuple[str, ...]
    """What bears no day, so that nobody can say since when it has been known."""
    has_own_python: bool = False
    """Whether there are features of your own in Python, which may read in ways that no audit hook sees."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.refused and not any(self.moved.values())


def up_to(log: Log, cutoff: date) -> dict[str, ir.Table]:
    """Return the log as it stood at the end of the cutoff.

    Rows after it are gone, and so is the end of a subscription that nobody knew of by then.
    """
    last = ibis.literal(cutoff, type="date")
    cut: dict[str, Any] = {
        name: table.filter((table[SOURCES[name].day] <= last) | table[SOURCES[name].day].isnull())
        for name, table in log.items()
    }
    held = cut["subscriptions"]
    known = ibis.coalesce(held.end_recorded_date, held.ended_date) <= last
    hidden = {
        name: ibis.ifelse(known, held[name], ibis.null(held[name].type())) for name in held.columns if name.startswith("end")
    }
    return {**cut, "subscriptions": held.mutate(**hidden)}


def check_leakage(
    delivered: Delivered, cutoffs: Sequence[date], *, windows: ChurnWindows, section: Features, root: Path
) -> LeakageReport:
    """Compute every feature from the whole delivery and from the delivery cut at each cutoff, and compare them.

    `root`: the workspace, whose own features are checked with ours. Errors as in `validate`, and SettingsError for a
    feature of your own that fails.
    """
    with temporary_folder("leakage") as temporary:
        work = temporary
        own = copy_own_features(root, work / "workspace")
        silent = undated(delivered.sources)
        _read(delivered, work / "whole", None)

        def features(name: str, of: Sequence[date]) -> tuple[str, ...]:
            return run(Job(
                work / name / "validated", work / "whole/validated/profile.json", work / "workspace",
                work / f"{name}-features", tuple(of), windows, section, delivered.counted_reasons,
            ))  # fmt: skip

        if refused := features("whole", cutoffs):
            return LeakageReport({}, refused, silent, own)
        moved: dict[date, list[str]] = {}
        for cutoff in cutoffs:
            _read(delivered, work / str(cutoff), cutoff)
            if refused := features(str(cutoff), [cutoff]):
                break
            files = (work / f"{name}-features" / f"{cutoff}.parquet" for name in ("whole", str(cutoff)))
            moved[cutoff] = _different(*map(pd.read_parquet, files))
        return LeakageReport(moved, refused, silent, own)


def undated(sources: Sources) -> tuple[str, ...]:
    """Return the columns that no day stands beside: attributes of customers without valid_from, and what joins add."""
    found = []
    for name, files in sources.tables.items():
        for source in files:
            if isinstance(source, Customers) and "valid_from" not in {*source.columns, *source.derive}:
                found += [f"customers.{attribute}" for attribute in source.attributes]
            found += [f"what {name} takes from {join.path}" for join in source.joins]
    return tuple(found)


def moved_features(one: Log, other: Log, built: Callable[[Log], pd.DataFrame]) -> list[str]:
    """Return the names of the features that differ between two logs, which may differ only where no feature may look.

    `built` makes the features of a log. Values are compared exactly: the last bit counts. With `other` =
    `up_to(one, cutoff)` this is the leakage check for any log at hand.
    """
    return _different(built(one), built(other))


def _read(delivered: Delivered, work: Path, cutoff: date | None) -> None:
    """Write the validated tables of a delivery, cut at a cutoff if one is given, to `validated` in a folder."""
    # Of the oldest rows alone a larger share may be unusable: that is no fault of the delivery as a whole.
    share = {} if cutoff is None else {"max_reject_share": 1.0}
    sources, out = delivered.sources.model_copy(update=share), work / "validated"
    with open_duckdb() as engine:
        validate(engine, sources, delivered.timezone, out, work / "usability.json", delivered.today, cutoff=cutoff)
    if cutoff is None:
        return
    with open_duckdb() as engine:
        log = up_to({name: engine.read(out / f"{name}.parquet") for name in SOURCES}, cutoff)
        for name, table in log.items():
            held = engine.materialize(table, f"cut_{name}")
            engine.write(held, out / f"{name}.parquet", held.columns)


def _different(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    first, second = _rows(one), _rows(other)
    if first.index.tolist() != second.index.tolist():
        return ["customer_id"]
    return [name for name in first.columns if not first[name].equals(second[name])]


def _rows(features: pd.DataFrame) -> pd.DataFrame:
    return features.drop(columns="cutoff_date").set_index("customer_id").sort_index()
