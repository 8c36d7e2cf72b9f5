"""Which days a delivery covers, and up to which of them it is complete."""

from __future__ import annotations

from datetime import date

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError
from lapse.core.source_settings import Sources
from lapse.core.windows import Period, last_complete_day, long_gaps
from lapse.history.validation.counts import number_of


def period_of(engine: DuckEngine, sources: Sources, today: date) -> Period:
    """Return the days that the validated transactions cover; without them, see `_period_of_contracts`."""
    until = sources.until
    if sources.transactions is None:
        return _period_of_contracts(engine, None if until is None else min(date.fromisoformat(until), today))
    rows = engine.connection.execute(
        "SELECT order_date, max(hour(ordered_at) * 60 + minute(ordered_at))::INT, count(DISTINCT customer_id) "
        "FROM valid_transactions GROUP BY 1 ORDER BY 1"
    ).fetchall()
    closings = [(row[0], row[1]) for row in rows]
    first, last = closings[0][0], closings[-1][0]
    later = number_of(engine, "set_aside_transactions WHERE is_after_until") if until else 0
    complete = date.fromisoformat(until) if until and later else last_complete_day(closings)
    return Period(first, last, complete, long_gaps([(row[0], row[2]) for row in rows]))


def _period_of_contracts(engine: DuckEngine, until: date | None) -> Period:
    """Return the days that subscriptions and the other dated tables cover, from the first start of a subscription on.

    The last complete day is `until`, the day of the export; where that is not given, the newest start, recorded end, event
    or rating, whose own last day must be complete. An end alone says nothing about it: it may be entered ahead.
    """
    newest: list[tuple[date, date]] = []
    for table, day, clock in (
        ("subscriptions", "started_date", None), ("subscriptions", "end_recorded_date", None),
        ("events", "event_date", "occurred_at"), ("feedback", "feedback_date", "rated_at"),
    ):  # fmt: skip
        minute = f"max(hour({clock}) * 60 + minute({clock}))::INT" if clock else "0"
        rows = engine.connection.execute(
            f"SELECT {day}, {minute} FROM valid_{table} WHERE {day} IS NOT NULL GROUP BY 1 ORDER BY 1"
        ).fetchall()
        if rows:
            newest.append((rows[-1][0], last_complete_day([(row[0], row[1]) for row in rows])))
    found = engine.connection.execute("SELECT min(started_date) FROM valid_subscriptions").fetchone()
    assert found is not None
    last = max(day for day, _ in newest)
    if until is None:
        return Period(found[0], last, max(day for _, day in newest))
    if until < found[0]:
        raise DataError(f"sources.until ({until}) lies before the first start of a subscription ({found[0]}). Set it to the "
                        "day of the export, or to null.")  # fmt: skip
    return Period(found[0], max(last, until), until)
