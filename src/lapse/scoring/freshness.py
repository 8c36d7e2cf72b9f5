"""Whether a delivery is still what the model learned from: what is refused, what is said, what reasons pass over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from lapse.core.engine import open_duckdb
from lapse.core.errors import StaleData
from lapse.core.logging import stage_logger
from lapse.core.settings import Score
from lapse.core.tables.activity import ATTRIBUTES, CATEGORY_DAYS, EVENT_DAYS, FEEDBACK_DAYS, PURCHASE_DAYS, SUBSCRIPTION_DAYS
from lapse.core.tables.sources import CUSTOMERS, EVENTS, FEEDBACK, SUBSCRIPTIONS, TRANSACTIONS
from lapse.features.catalogue import all_features
from lapse.features.family import Feature
from lapse.features.names import names_in
from lapse.history.profile import DataProfile
from lapse.history.staleness import Difference, compare_tables
from lapse.history.table_profile import TableProfile, measure_folder
from lapse.model.bundle import Bundle

LOG = stage_logger("score")

SOURCE_OF = {
    PURCHASE_DAYS.name: TRANSACTIONS.name, CATEGORY_DAYS.name: TRANSACTIONS.name, EVENT_DAYS.name: EVENTS.name,
    FEEDBACK_DAYS.name: FEEDBACK.name, SUBSCRIPTION_DAYS.name: SUBSCRIPTIONS.name, ATTRIBUTES.name: CUSTOMERS.name,
}  # fmt: skip
"""Activity table -> the delivered table that it is rolled up from."""


@dataclass(frozen=True)
class Freshness:
    """What was found when a delivery was held against what a model learned from."""

    differences: tuple[Difference, ...]
    refused: tuple[Difference, ...]
    """Those for which nobody is scored, unless params say otherwise."""
    not_compared: str | None = None
    """Why the delivery could be held against its own past only; None where it was held against the model's."""

    @property
    def stale_tables(self) -> tuple[str, ...]:
        """The side tables whose rows say of customers what is true of the delivery alone: no reason speaks of them."""
        misleading = {one.table for one in self.differences if one.misleads} - {TRANSACTIONS.name, CUSTOMERS.name}
        return tuple(sorted(misleading))

    def messages(self) -> list[str]:
        """Return what was found, a line each."""
        return [str(one) for one in self.differences] + ([self.not_compared] if self.not_compared else [])

    def require(self) -> tuple[str, ...]:
        """Log what was found and return the stale tables; StaleData where customers must not be scored from them."""
        said = {str(one) for one in self.refused}
        for message in self.messages():
            if message not in said:
                LOG.warning(f"WARNING {message}")
        if self.refused:
            raise StaleData(
                f"score: stale: {_named(self.refused)}, so the risk cannot be told and nobody was scored. "
                f"{' '.join(map(str, self.refused))} To score all the same: score.when_stale: warn."
            )
        return self.stale_tables


def tables_on(day: date, profile: DataProfile, validated: Path) -> Mapping[str, TableProfile]:
    """Return the tables of a delivery as they were on a day, from the folder of validated tables."""
    if day == profile.period.last_complete_day:
        return profile.tables
    with open_duckdb() as engine:
        return measure_folder(engine, validated, profile.columns, profile.classes, day)


def check_freshness(
    bundle: Bundle,
    now: Mapping[str, TableProfile],
    score: Score,
    *,
    also_read: Collection[str] = (),
    today: date | None = None,
) -> Freshness:
    """Hold the tables as they are on a day against those that a model learned from.

    `now`: as `tables_on` a day. `also_read`: tables that scoring needs besides the model's features. `today`: the newest
    order may be score.max_log_age.transactions older than that; None: its age is not looked at.
    """
    found = compare_tables(now, bundle.learned_from, max_ages=score.max_log_age, today=today)
    read = tables_read(bundle) | set(also_read)
    refused = tuple(one for one in found if one.grave and one.table in read) if score.when_stale == "refuse" else ()
    unknown = None
    if bundle.learned_from is None:
        unknown = (
            "the model was trained by an older lapse, which did not keep how the tables were then: volume, event types, "
            "attributes and empty cells were not compared. To have them compared, train again: `dvc repro`."
        )
    return Freshness(tuple(found), refused, unknown)


def tables_read(bundle: Bundle) -> set[str]:
    """Return the delivered tables without which a model's risks are wrong for everybody.

    The customers table is none of them: it holds no behaviour, and where it is gone nobody is contacted who should not be.
    """
    used = set(bundle.features)
    read = {SOURCE_OF[feature.table] for feature in all_features(bundle.inputs) if feature.name in used}
    if bundle.windows.mode == "subscription":
        read.add(SUBSCRIPTIONS.name)
    return (read | {TRANSACTIONS.name}) - {CUSTOMERS.name}


def silent_features(features: Sequence[Feature], stale_tables: Collection[str]) -> frozenset[str]:
    """Return the features of which no reason may speak: those of stale tables, and those whose words quote one."""
    silent = {feature.name for feature in features if SOURCE_OF.get(feature.table) in stale_tables}
    quoting = {
        feature.name for feature in features
        if silent & set(names_in(feature.entry.reason + feature.entry.protective_reason))
    }  # fmt: skip
    return frozenset(silent | quoting)


def _named(found: Sequence[Difference]) -> str:
    names = list(dict.fromkeys(one.table for one in found))
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
