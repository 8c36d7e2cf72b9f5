"""Stage activity: each log rolled up once to one row per customer and day. Everything downstream reads this.

Every column of a day depends on that day and the days before it, never on later ones: a cutoff takes the rows up to
itself, and a month that is rolled up stays as it is until something in it, or before it, changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.core.cache import Cache, code_digest, key_of
from lapse.core.engine import Engine
from lapse.core.held_tables import HeldTables
from lapse.core.tables.activity import (
    ATTRIBUTE,
    ATTRIBUTES,
    CATEGORY_DAYS,
    EVENT_DAYS,
    FEEDBACK_DAYS,
    PURCHASE_DAYS,
    SUBSCRIPTION_DAYS,
)
from lapse.core.tables.contract import Table
from lapse.core.tables.sources import CUSTOMERS, EVENTS, FEEDBACK, SUBSCRIPTIONS, TRANSACTIONS
from lapse.history.activity.codes import Codes, of_chunk
from lapse.history.activity.prices import usual_prices
from lapse.history.activity.purchases import category_days, order_lines, purchase_days
from lapse.history.activity.ratings import feedback_days
from lapse.history.activity.subscriptions import subscription_days

TABLES = (PURCHASE_DAYS, CATEGORY_DAYS, EVENT_DAYS, FEEDBACK_DAYS, SUBSCRIPTION_DAYS, ATTRIBUTES)
MONTH, WHOLE = "file_month", "all"
"""The column with the number of the month whose file a day goes to, and the one file of a log that is rolled up whole."""
ANY_MONTH = 1_900_000_001
"""Stands for the number of a month in SQL that is written once."""
EVER = date(1900, 1, 1)
"""Stands for the day from which on an attribute was known, where the delivery does not say."""
PURCHASES_AT_ONCE, EVENTS_AT_ONCE = 2_000_000, 25_000_000
"""Source rows that are rolled up at once, where customers can be taken chunk by chunk. More, and what is grouped no longer
fits the memory; of 20 M order lines at once every one costs twice as much, since it no longer fits the caches."""

FEW = 8
"""Where fewer than one in so many rows are rolled up, their texts are grouped as they are."""

RollUp = Callable[[Any, date | None, Any], Any]
"""Given the log, the first day that is wanted (None: the log's) and the days rolled up before it, returns the activity
since then."""


@dataclass(frozen=True)
class Log:
    """What an activity table is rolled up from, and how."""

    table: Table
    rows: Any
    day: str
    """The column of days; empty: any change to the log changes all of its activity."""
    prints: Mapping[date, tuple[int, str]]
    roll_up: RollUp
    codes: Codes | None = None
    """What stands for the texts, where the roll-up asks of them only whether they are the same."""
    at_once: int | None = None
    """Source rows that are rolled up at once, where a customer's days depend on no other customer's rows."""
    coded_rows: Callable[[], Any] | None = None
    """The rows in codes, held, where several tables are rolled up from them."""

    def new_rows(self, since: date | None) -> int:
        """Return how many source rows there are from a day on."""
        return sum(count for day, (count, _) in self.prints.items() if since is None or day >= since)

    def takes_codes(self, since: date | None) -> bool:
        """Whether codes stand for texts: to code a long log costs more than it saves on a few new rows."""
        return self.codes is not None and self.new_rows(since) * FEW >= self.new_rows(None)

    def finished(self, days: Any, since: date | None) -> Any:
        """Return days rolled up from a day on as they are written, with texts in place of codes."""
        return self.codes.decoded(days) if self.codes and self.takes_codes(since) else days


class Activity(Mapping[str, ir.Table]):
    """The activity tables by name, and what identifies their rows up to a day."""

    def __init__(self, tables: Mapping[str, ir.Table], prints: Mapping[str, Mapping[str, str]]) -> None:
        self._tables, self._prints = tables, prints

    def __getitem__(self, name: str) -> ir.Table:
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def up_to(self, day: date) -> str:
        """Return a key that is the same as long as no row up to a day has changed."""
        return key_of(*(f"{name} {d} {p}" for name, days in self._prints.items() for d, p in days.items() if d <= str(day)))


def write_activity(
    engine: Engine,
    validated: Path,
    out: Path,
    scale: tuple[float, float] | None,
    counted_reasons: Sequence[str] | None = None,
) -> dict[str, int]:
    """Write the activity tables to `out`, and return the number of rows of each.

    Months that are in `out` already, and whose rows and all before them are the same as then, are not computed again.
    `counted_reasons`: the reasons for which the end of a subscription is churn; None: all of them.
    """
    base_key = key_of(_code(), scale, counted_reasons)
    with HeldTables(engine) as held:
        logs = _logs(held, validated, scale, counted_reasons)
        return {log.table.name: _write_months(engine, log, out / log.table.name, base_key) for log in logs}


def _logs(
    held: HeldTables, validated: Path, scale: tuple[float, float] | None, counted_reasons: Sequence[str] | None
) -> Sequence[Log]:
    """Return what each activity table is rolled up from, and how."""
    engine = held.engine
    lines, happened, rated, subscribed, known = (
        engine.read(validated / f"{table.name}.parquet")
        for table in (TRANSACTIONS, EVENTS, FEEDBACK, SUBSCRIPTIONS, CUSTOMERS)
    )
    # A month that is validated by file says more of a row.
    lines, happened, rated = lines.select(TRANSACTIONS.names), happened.select(EVENTS.names), rated.select(FEEDBACK.names)
    codes = Codes(held, (lines, happened))
    bought = engine.fingerprints(lines, TRANSACTIONS.day)

    @cache
    def coded_lines() -> Any:
        return held.hold(codes.coded(lines), "lines", order_by="customer_id")

    @cache
    def prices(*, coded: bool) -> Any:
        return held.hold(usual_prices(order_lines(coded_lines() if coded else lines)), f"usual_prices_{coded}")

    def purchases(rows: Any, since: date | None, earlier: Any) -> Any:
        return purchase_days(rows, since, earlier, prices(coded=rows.customer_id.type().is_integer()))

    return (
        Log(PURCHASE_DAYS, lines, TRANSACTIONS.day, bought, purchases, codes, PURCHASES_AT_ONCE, coded_lines),
        Log(CATEGORY_DAYS, lines, TRANSACTIONS.day, bought, lambda rows, since, _: category_days(rows, since), codes,
            EVENTS_AT_ONCE, coded_lines),
        Log(EVENT_DAYS, happened, EVENTS.day, engine.fingerprints(happened, EVENTS.day), _since(event_days), codes,
            EVENTS_AT_ONCE),
        Log(FEEDBACK_DAYS, rated, FEEDBACK.day, engine.fingerprints(rated, FEEDBACK.day),
            _since(partial(feedback_days, scale=scale))),
        # An end that is entered late changes an old row: subscriptions are always rolled up whole.
        Log(SUBSCRIPTION_DAYS, subscribed, "", engine.fingerprints(subscribed, SUBSCRIPTIONS.day),
            lambda rows, *_: subscription_days(rows, counted_reasons)),
        Log(ATTRIBUTES, known, "", engine.fingerprints(known, CUSTOMERS.day), lambda rows, *_: attributes(rows)),
    )  # fmt: skip


def roll_up(
    log: Mapping[str, ir.Table], scale: tuple[float, float] | None, counted_reasons: Sequence[str] | None = None
) -> dict[str, ir.Table]:
    """Return the activity tables of validated tables: the whole log at once, nothing written."""
    return {
        "purchase_days": purchase_days(log["transactions"]),
        "category_days": category_days(log["transactions"]),
        "event_days": event_days(log["events"]),
        "feedback_days": feedback_days(log["feedback"], scale),
        "subscription_days": subscription_days(log["subscriptions"], counted_reasons),
        "attributes": attributes(log["customers"]),
    }


def read_activity(engine: Engine, folder: Path) -> Activity:
    """Return the tables that `write_activity` wrote."""
    prints = {
        table.name: {day: value for entry in Cache(folder / table.name).notes.values() for day, value in entry.items()}
        for table in TABLES
    }
    return Activity({table.name: engine.read(folder / table.name) for table in TABLES}, prints)


def event_days(events: ir.Table) -> ir.Table:
    """Return one row per customer, day and event type (tables.EVENT_DAYS)."""
    return (
        events.mutate(activity_date=events[EVENTS.day])
        .group_by("customer_id", "activity_date", "event_type")
        .aggregate(events=lambda t: t.count())
        .select(EVENT_DAYS.names)
    )


def attributes(customers: ir.Table) -> ir.Table:
    """Return what is known of each customer from which day on (tables.ATTRIBUTES)."""
    rows: Any = customers
    given = [name for name in rows.columns if name not in CUSTOMERS.names]
    day = rows.valid_from.coalesce(ibis.literal(EVER, type="date"))
    # Under names of their own: an attribute may be called age.
    named = {ATTRIBUTE + name: rows[name] for name in given}
    table: ir.Table = rows.select(customer_id=rows.customer_id, activity_date=day, **named)
    return table


def _since(roll_up: Callable[[Any], Any]) -> RollUp:
    """Return the same roll-up for a block of days; each of its days must depend on no row after it."""

    def since_then(rows: Any, since: date | None, _: Any) -> Any:
        days = roll_up(rows)
        return days if since is None else days.filter(days.activity_date >= ibis.literal(since, type="date"))

    return since_then


def _write_months(engine: Engine, log: Log, folder: Path, base_key: str) -> int:
    """Write one file per month of a log, and return the rows of all of them."""
    cached = Cache(folder)
    keys = _keys_of_months(base_key, log.prints) if log.day else {}
    keys = keys or {WHOLE: key_of(base_key, *log.prints.items())}
    cached.prune(keys)
    fresh = list(takewhile(lambda month: cached.has(month, keys[month]), keys))
    stale = list(keys)[len(fresh) :]
    if stale:
        # The index is as long as the log has days: it is written once, not once for a month.
        cached.forget(stale)
        since = date.fromisoformat(f"{stale[0]}-01") if fresh else None
        earlier = engine.read_files([folder / f"{month}.parquet" for month in fresh]) if fresh else None
        notes: dict[str, dict[str, str]] = {month: {} for month in stale}
        with HeldTables(engine) as held:
            name = held.name(log.table.name)
            chunks = (engine.query(_with_month(days, keys)) for days in _rolled(engine, log, since, earlier))
            made: Any = engine.materialize_queries(chunks, name, order_by=MONTH)
            for d, (_, value) in engine.fingerprints(log.finished(made.drop(MONTH), since), "activity_date").items():
                notes[_month(d) if WHOLE not in notes else WHOLE][str(d)] = value
            # The same SQL for every month: to write it takes longer than to run it.
            query = engine.query(log.finished(made.filter(made[MONTH] == ANY_MONTH).drop(MONTH), since))
            for month in stale:
                of_month = query.replace(str(ANY_MONTH), str(_number(month)))
                engine.write_query(of_month, folder / f"{month}.parquet", log.table.key)
        cached.note_all({month: (keys[month], notes[month]) for month in stale})
    return engine.count(engine.read(folder))


def _rolled(engine: Engine, log: Log, since: date | None, earlier: Any) -> Iterator[Any]:
    """Yield the activity from a day on, a chunk of customers at a time, given the days before it; mostly still in codes."""
    new = log.new_rows(since)
    if log.codes is None or not log.takes_codes(since):
        yield log.roll_up(log.rows, since, earlier)
        return
    for chunk in log.codes.chunks(-(-new // log.at_once) if log.at_once and engine.in_chunks else 1):
        before = None if earlier is None else log.codes.coded(of_chunk(earlier, chunk))
        rows = of_chunk(log.coded_rows(), chunk) if log.coded_rows else log.codes.coded(of_chunk(log.rows, chunk))
        yield log.roll_up(rows, since, before)


def _with_month(days: Any, keys: Mapping[str, str]) -> Any:
    """Return the days with the number of the file that each goes to."""
    day = days.activity_date
    month = day.year() * 12 + day.month() if WHOLE not in keys else ibis.literal(_number(WHOLE))
    return days.mutate(**{MONTH: month.cast("int32")})


def _number(month: str) -> int:
    """Return what stands for a month, or for the whole log, in MONTH."""
    return 0 if month == WHOLE else int(month[:4]) * 12 + int(month[5:])


def _keys_of_months(base_key: str, prints: Mapping[date, tuple[int, str]]) -> dict[str, str]:
    """Return, per month, the cache key of everything up to its end, oldest first."""
    keys: dict[str, str] = {}
    key = base_key
    for day, (_, value) in sorted(prints.items()):
        key = key_of(key, day, value)
        keys[_month(day)] = key
    return keys


def _month(day: date) -> str:
    return f"{day:%Y-%m}"


def _code() -> str:
    from lapse.core import tables
    from lapse.history.activity import codes, prices, purchases, ratings, subscriptions

    modules = (codes, prices, purchases, ratings, subscriptions, tables)
    return code_digest(Path(__file__), *(module.__file__ for module in modules))
