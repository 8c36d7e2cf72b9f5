"""Who may be contacted: what each customer's newest word was, on the day of scoring and today."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from lapse.core.consent import GIVEN, REFUSED, UNKNOWN, WITHDRAWN
from lapse.core.logging import stage_logger
from lapse.core.tables.contract import nearest
from lapse.core.tables.sources import CUSTOMERS, EVENTS
from lapse.features.names import slug
from lapse.history.activity.rollup import EVER
from lapse.history.profile import DataProfile

LOG = stage_logger("score")


@dataclass(frozen=True)
class ConsentRecord:
    """What is known of the customers' consent."""

    is_delivered: bool
    """The customers table has a column consent: then only a clear yes is one."""
    states: pd.Series
    """Customer -> one of STATES, for those who are in the customers table or have withdrawn."""

    def of(self, customer_ids: pd.Series) -> pd.Series:
        """Return the state of customers; null for who has not withdrawn where consent is not delivered."""
        states = customer_ids.map(self.states).astype("object")
        return states.where(states.notna(), UNKNOWN if self.is_delivered else None)


def may_contact(states: pd.Series) -> pd.Series:
    """Return which of some states of consent allow contact: a clear yes, and null (see ConsentRecord.of)."""
    return states.isna() | (states == GIVEN)


def consent_record(validated: Path, profile: DataProfile, as_of: date, withdrawn_by: Sequence[str] = ()) -> ConsentRecord:
    """Return what the folder of validated tables says of consent.

    A customer's words are the rows of the customers table, from valid_from on (from ever on without it), and their
    events of `withdrawn_by`. Who may be contacted has a clear yes as their last word up to `as_of` and as their last
    word at all: what was said later is never used to allow, only to keep off. A withdrawal is stronger than a yes of the
    same day, and than one without a day; a later yes with a day undoes it. Capitals and hyphens
    of the event types do not matter.
    """
    is_delivered = "consent" in profile.columns.get(CUSTOMERS.name, ())
    words = [_withdrawals(validated, withdrawn_by, profile.event_types)]
    if is_delivered:
        words.insert(0, _said(validated))
    # Of one day the withdrawal comes last: the sort keeps the order in which they stand.
    return _record(pd.concat(words, ignore_index=True), as_of, is_delivered=is_delivered)


def channel_consent(validated: Path, profile: DataProfile, as_of: date, channel: str) -> ConsentRecord:
    """Return what the customers table says of consent to one channel, as `consent_record` does of all of them.

    Null for everybody where that is not delivered. Withdrawals by event are of every channel, and not in it.
    """
    column = f"consent_{channel}"
    if column not in profile.columns.get(CUSTOMERS.name, ()):
        return ConsentRecord(is_delivered=False, states=pd.Series(dtype="object"))
    return _record(_said(validated, column), as_of, is_delivered=True)


def consent_of(delivered: pd.DataFrame, day: date) -> ConsentRecord:
    """Return what delivered rows of the customers (customer_id, consent, valid_from) say of consent on a day.

    As `consent_record`, without withdrawals. Of one day the last row counts.
    """
    return _record(_words(delivered), day, is_delivered=True)


def _record(words: pd.DataFrame, as_of: date, *, is_delivered: bool) -> ConsentRecord:
    said = words.sort_values("day", kind="stable")
    known = said[said["day"] <= pd.Timestamp(as_of)].groupby("customer_id")["state"].last()
    newest = said.groupby("customer_id")["state"].last()
    if is_delivered:
        # A yes that is not valid yet is none.
        known = known.reindex(newest.index).fillna(UNKNOWN)
        return ConsentRecord(is_delivered=True, states=newest.where(known == GIVEN, known))
    return ConsentRecord(is_delivered=False, states=newest)


def _said(validated: Path, column: str = "consent") -> pd.DataFrame:
    """Return what the customers table says, a row per customer and valid_from."""
    given = pd.read_parquet(validated / f"{CUSTOMERS.name}.parquet", columns=["customer_id", column, "valid_from"])
    return _words(given.rename(columns={column: "consent"}))


def _words(given: pd.DataFrame) -> pd.DataFrame:
    consent = given["consent"].astype("boolean")
    state = consent.map({True: GIVEN, False: REFUSED}).astype("object")
    return pd.DataFrame({
        "customer_id": given["customer_id"].astype("object"),
        "day": pd.to_datetime(given["valid_from"]).astype("datetime64[s]").fillna(pd.Timestamp(EVER)),
        "state": state.where(consent.notna(), UNKNOWN),
    })  # fmt: skip


def _withdrawals(validated: Path, withdrawn_by: Sequence[str], event_types: Sequence[str]) -> pd.DataFrame:
    """Return the events by which customers withdrew."""
    meant = {slug(name): name for name in withdrawn_by}
    kinds = [kind for kind in event_types if slug(kind) in meant]
    absent = [name for key, name in meant.items() if key not in {slug(kind) for kind in kinds}]
    if absent:
        hint = nearest(absent[0], event_types) if event_types else "The events have no types at all."
        LOG.warning(f"WARNING consent.withdrawn_by: no event is of type {', '.join(absent)}. {hint}")
    if kinds:
        read = pd.read_parquet(
            validated / f"{EVENTS.name}.parquet", columns=["customer_id", EVENTS.day], filters=[("event_type", "in", kinds)]
        )
        ids, days = read["customer_id"].astype("object"), pd.to_datetime(read[EVENTS.day]).astype("datetime64[s]")
    else:
        ids, days = pd.Series(dtype="object"), pd.Series(dtype="datetime64[s]")
    return pd.DataFrame({"customer_id": ids, "day": days, "state": pd.Series(WITHDRAWN, index=ids.index, dtype="object")})
