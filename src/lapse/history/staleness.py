"""What of a delivery is too old, gone, or other than it was when a model learned from it: the one definition.

Scoring, explaining and `lapse check` all ask here. Every limit is what the table did by itself before, and some room for
chance, so that a table that comes once a month is held to months, and one that comes daily to days.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from lapse.core.errors import sample_keys
from lapse.core.tables.sources import EVENTS, TRANSACTIONS
from lapse.core.windows import YEAR_DAYS
from lapse.history.table_profile import BLOCK_DAYS, UNDATED, TableProfile

Kind = Literal["gone", "late", "fewer", "more", "levels", "nulls"]

SLACK_DAYS = 7
"""A load may come a week late without a word."""
LOG_AGE = 7
"""Days that the newest order may be before today, where params do not say so: a delivery of every day, or of every week."""
FEWEST_PAUSES = 5
"""Of fewer pauses nobody can say what is usual."""
DEVIATIONS = 8
"""Where rows come by chance, a pause longer than the longest known one and eight standard deviations comes once in e^8."""
FELL, ROSE, NEARLY_GONE = 0.5, 2.0, 0.1
"""Beyond the least and most of a year's blocks: half and twice are other deliveries, under a tenth is hardly one."""
NULLS_MOVED = 0.1
SIGMAS = 5
"""How far from what is expected chance alone comes once in millions."""
EXPECTED_ROWS = 20
"""Of so many expected rows chance leaves none once in e^20."""
MOST_OF_IT = 0.5
"""When values that held half of a table are gone, so is the table as the model knows it."""


@dataclass(frozen=True)
class Difference:
    """One thing in which a delivered table is not what it was."""

    table: str
    column: str | None
    kind: Kind
    grave: bool
    """The table is gone or far too old, rather than somewhat different."""
    count: int
    message: str
    what_to_do: str

    @property
    def misleads(self) -> bool:
        """Whether counting the table's rows would say of customers what is true of the delivery alone."""
        return self.kind in ("gone", "late", "fewer", "levels")

    def __str__(self) -> str:
        """Return it in one line."""
        place = f"{self.table}.{self.column}" if self.column else self.table
        return f"{place}: {self.message} {self.what_to_do}"


def differences(
    name: str,
    now: TableProfile,
    learned: TableProfile | None = None,
    *,
    max_age: int | None = None,
    today: date | None = None,
) -> list[Difference]:
    """Return in what a table differs from what a model learned from; None: it is held against its own past alone.

    `max_age`: days that the newest row may be older than the day of `now`, or than `today` where that is given; None:
    as many as `age_limit` says.
    """
    if not now.rows and (learned is None or learned.rows):
        before = f", where the model learned from {learned.rows:,}" if learned else ""
        return [Difference(
            name, None, "gone", True, learned.rows if learned else 0,  # noqa: FBT003
            f"the table is mapped and has no row{before}.",
            f"Deliver it, or train again without it: sources.{name}: null, then `dvc repro`.",
        )]  # fmt: skip
    late = _late(name, now, learned, max_age, today)
    if late:
        return [late]
    if learned is None or now.measured_on < learned.measured_on:
        # A day before the model learned: the model knows what came later, and a young log looks small beside it.
        return []
    changed = [*_levels(name, now, learned), *_nulls(name, now, learned)]
    volume = _volume(name, now, learned)
    return [*([volume] if volume else []), *changed]


def age_limit(profile: TableProfile, *, with_delay: bool) -> int | None:
    """Return how many days old a table's newest row may be: its longest pause and some room for chance.

    `with_delay`: it was as late as it was when the model learned from it. None where too few pauses are known to say.
    """
    if profile.pauses < FEWEST_PAUSES:
        return None
    usual = max(profile.longest_pause, (profile.delay or 0) if with_delay else 0)
    return usual + SLACK_DAYS + math.ceil(DEVIATIONS * profile.pause_deviation)


def _late(
    name: str, now: TableProfile, learned: TableProfile | None, max_age: int | None, today: date | None
) -> Difference | None:
    if now.newest_day is None:
        return None
    limit = max_age if max_age is not None else age_limit(learned or now, with_delay=learned is not None)
    end = today or now.measured_on
    age = (end - now.newest_day).days
    if limit is None or age <= limit:
        return None
    pause = (learned or now).longest_pause
    why = (f"score.max_log_age allows {max_age}" if max_age is not None else
           f"it was never without rows for longer than {pause} {'day' if pause == 1 else 'days'} before")  # fmt: skip
    until = "today" if today else "the day that is looked at"
    return Difference(
        name, None, "late", True, age,  # noqa: FBT003
        f"the newest row is of {now.newest_day}, {age} days before {until} ({end}), and {why}: what happened since is "
        "missing.",
        f"Deliver it up to {end}. If it is right as it is, set score.max_log_age: {{{name}: {age}}}.",
    )  # fmt: skip


def _usual_age(now: TableProfile, today: date) -> int | None:
    """Return how old the newest order may be where params do not say so; None for a log that nobody delivers any more."""
    return None if now.newest_day is None or (today - now.newest_day).days > YEAR_DAYS else LOG_AGE


def _volume(name: str, now: TableProfile, learned: TableProfile) -> Difference | None:
    """Compare the newest block with the least and the most of the blocks that the model learned from."""
    if not now.blocks or not learned.blocks:
        return None
    rows, least, most = now.blocks[0], min(learned.blocks), max(learned.blocks)
    when = "in all" if name in UNDATED else f"in the last {BLOCK_DAYS} days"
    # The count of rows that come by chance has its own size as its variance (Poisson).
    fell = rows < FELL * least and rows < least - SIGMAS * math.sqrt(least)
    rose = rows > ROSE * most and rows > most + SIGMAS * math.sqrt(most)
    if not fell and not rose:
        return None
    usual = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return Difference(
        name, None, "fewer" if fell else "more", fell and rows < NEARLY_GONE * least, rows,
        f"{rows:,} rows {when}, where the model learned from {usual}.",
        "Check whether the delivery is whole." if fell else "Check whether something was loaded twice; if not, train again.",
    )  # fmt: skip


def _levels(name: str, now: TableProfile, learned: TableProfile) -> Iterator[Difference]:
    """Find the values of a column of classes that are gone, or written in another way."""
    for column, known in learned.levels.items():
        here = now.levels.get(column, {})
        share = now.rows / learned.rows if learned.rows else 0.0
        gone = [level for level, counts in known.items() if _is_gone(here.get(level), counts, learned, share)]
        if not gone:
            continue
        in_blocks = sum(sum(counts) for counts in known.values())
        held = sum(sum(known[level]) for level in gone)
        new = {_bare(level): level for level in here if level not in known}
        respelled = [f"{new[_bare(level)]!r} for {level!r}" for level in gone if _bare(level) in new]
        others = [repr(level) for level in gone if _bare(level) not in new]
        said = [f"{sample_keys(respelled)}: written otherwise than the model learned"] if respelled else []
        said += [f"no more rows of {sample_keys(others)}"] if others else []
        yield Difference(
            name, column, "levels", name == EVENTS.name and held >= MOST_OF_IT * in_blocks, len(gone),
            f"{len(gone)} of the {len(known)} values that the model knows are gone ({'; '.join(said)}). They held "
            f"{held / in_blocks if in_blocks else 0:.0%} of its rows.",
            "Deliver them as before, or train again: `dvc repro`.",
        )  # fmt: skip


def _is_gone(here: Sequence[int] | None, known: Sequence[int], learned: TableProfile, share: float) -> bool:
    """Return whether a value lacks for another reason than chance: altogether, or in the newest block only."""
    if here is None:
        return sum(known) * min(share, 1.0) >= EXPECTED_ROWS
    steady = len(learned.blocks) > 1 and min(known) >= EXPECTED_ROWS
    return steady and bool(here) and here[0] == 0


def _nulls(name: str, now: TableProfile, learned: TableProfile) -> Iterator[Difference]:
    """Find the columns that are empty more often, or less, in the newest block than in all that the model learned from."""
    before, rows = sum(learned.blocks), now.blocks[0] if now.blocks else 0
    if not before or not rows:
        return
    for column, counts in learned.nulls.items():
        if column not in now.nulls:
            continue
        then, share = sum(counts) / before, now.nulls[column][0] / rows
        pooled = (sum(counts) + now.nulls[column][0]) / (before + rows)
        chance = SIGMAS * math.sqrt(pooled * (1 - pooled) * (1 / before + 1 / rows))
        if abs(share - then) > NULLS_MOVED + chance:
            yield Difference(
                name, column, "nulls", False, now.nulls[column][0],  # noqa: FBT003
                f"{share:.1%} of the newest rows have no value, where the model learned from {then:.1%}.",
                f"Check sources.{name} and the delivery; if this is how it is now, train again.",
            )  # fmt: skip


def _bare(level: str) -> str:
    """Return a value as its letters and digits alone, by which two spellings of it are the same."""
    return re.sub(r"[\W_]+", "", level.casefold())


def compare_tables(
    now: Mapping[str, TableProfile],
    learned: Mapping[str, TableProfile] | None,
    *,
    max_ages: Mapping[str, int],
    today: date | None = None,
) -> list[Difference]:
    """Return the differences of all tables that are mapped now, the grave ones first.

    `max_ages`: table -> the most days, as params say. `today`: for the age of the transactions, which is not looked at
    without it; where params do not limit it, LOG_AGE days do, unless the log is a year old: that is history, no delivery.
    """
    found: list[Difference] = []
    for name, profile in now.items():
        orders = name == TRANSACTIONS.name
        if orders and today is not None and (limit := max_ages.get(name, _usual_age(profile, today))) is not None:
            late = _late(name, profile, None, limit, today)
            found += [late] if late else []
        age = None if orders else max_ages.get(name)
        found += differences(name, profile, (learned or {}).get(name), max_age=age)
    return sorted(found, key=lambda one: not one.grave)
