"""From the activity tables to the features of one cutoff: the cut, the passes over the days, what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from itertools import groupby
from typing import Any, NamedTuple

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir

from lapse.engine import Engine
from lapse.features.buy_till_you_die import BgNbd
from lapse.features.catalogue import FAMILIES, all_features
from lapse.features.family import Family, Feature, Inputs
from lapse.features.peers import peers
from lapse.features.people import fit_population, numbered, parameters

REACHES = (60, 180, 730)
"""Features that look back so many days, or fewer, share a pass over the days that reaches no further."""
AT_ONCE = 16
"""Features of one pass: in DuckDB each filtered sum makes every other one of its pass dearer."""
PIECE = 250_000
"""Customers whose activity is held, and whose features are aggregated, at once, where that bounds the memory."""


class Pass(NamedTuple):
    """A pass over the days of an activity table, and the features that are computed in it."""

    family: Family
    reach: int
    features: list[Feature]


class Template:
    """The features of one cutoff after the other; their SQL is written once, since only the cutoff and the model change.

    To write hundreds of features out as SQL takes longer than to compute them for some thousand customers.
    """

    CUTOFF = date(1111, 11, 11)
    FITTED = BgNbd(1.1e-101, 1.2e-102, 1.3e-103, 1.4e-104)
    """What stands in the template for the cutoff and for the model's parameters."""

    def __init__(
        self, engine: Engine, activity: Mapping[str, ir.Table], inputs: Inputs, families: Sequence[Family] = FAMILIES
    ) -> None:
        self.engine, self.activity, self.inputs, self.families = engine, activity, inputs, families
        self._written: dict[tuple[int, bool], tuple[str, str]] = {}

    def query(self, snapshots: ir.Table, cutoff: date, history_days: int) -> str:
        """The snapshots of a cutoff and the age of the log in, the SQL of their features out.

        It reads what is computed here and held in the engine until the next cutoff.
        """
        features, last = all_features(self.inputs, self.families), _literal(cutoff)
        people = self.engine.keep(numbered(self.activity["purchase_days"], snapshots, last), "features_people")
        asked = any(feature.family == peers.name for feature in features)
        model = fit_population(self.activity["purchase_days"], people, last) if asked else None
        # Logs of different ages lack different features; up to the next of these ages they lack the same.
        age = max((f.days_needed for f in features if f.days_needed <= history_days), default=0)
        written = age, model is None

        def pieces() -> Iterator[str]:
            for whom in self._pieces(people):
                cut, of_piece = self._cut(whom, last)
                if written not in self._written:
                    self._written[written] = self._write(cut, of_piece, people, age, self.FITTED if model else None)
                yield self._filled_in(self._written[written][0], cutoff, model)

        self.engine.keep_queries(pieces(), "features_aggregated")
        return self._filled_in(self._written[written][1], cutoff, model)

    def _pieces(self, people: ir.Table) -> Iterator[ir.Table]:
        """All people in, so many of them at a time as fit the memory, out; nobody once where there is nobody."""
        if not self.engine.in_pieces:
            yield people
            return
        numbers = people.number
        for after in range(0, max(1, int(people.count().to_pyarrow().as_py())), PIECE):
            yield people.filter((numbers > after) & (numbers <= after + PIECE))

    def _cut(self, whom: ir.Table, last: Any) -> tuple[dict[str, ir.Table], ir.Table]:
        """Some people in, their activity up to the cutoff by table, and they themselves, held until the next call, out.

        Here the future is cut off, once, before any feature sees it.
        """
        held = self.engine.keep(whom, "features_of_piece")
        features = all_features(self.inputs, self.families)
        tables = sorted({feature.table for feature in features if feature.kind == "aggregate"})
        # Files of activity are sorted by customer: what lies before and after these is not read.
        ends = self.engine.frame(held.aggregate(first=held.customer_id.min(), last=held.customer_id.max())).iloc[0]
        cut = {}
        for name in tables:
            rows: Any = self.activity[name]
            rows = rows.filter(rows.customer_id.between(*ends)) if isinstance(ends["first"], str) else rows
            cut[name] = self.engine.keep(_of_people(rows, held, last), f"features_{name}", order_by="customer_id")
        return cut, held

    def _write(
        self, cut: Mapping[str, ir.Table], whom: ir.Table, people: ir.Table, history_days: int, fitted: BgNbd | None
    ) -> tuple[str, str]:
        """What is cut off and of whom in; the SQL of what is aggregated, and of what follows from that, out."""
        rows = aggregated(cut, whom, _literal(self.CUTOFF), history_days, self.inputs, self.families)
        held = ibis.table(rows.schema(), name="features_aggregated")
        features = derived(held, people, history_days, self.inputs, self.families, fitted)
        return self.engine.query(rows), self.engine.query(features)

    def _filled_in(self, text: str, cutoff: date, model: BgNbd | None) -> str:
        day, stand_in = (f"{d.year}, {d.month}, {d.day}" for d in (cutoff, self.CUTOFF))
        text = text.replace(stand_in, day).replace(str(self.CUTOFF), str(cutoff))
        for name, parameter in asdict(model).items() if model else ():
            text = text.replace(repr(getattr(self.FITTED, name)), repr(parameter))
        return text


def aggregated(
    cut: Mapping[str, ir.Table],
    people: ir.Table,
    last: Any,
    history_days: int,
    inputs: Inputs,
    families: Sequence[Family],
) -> ir.Table:
    """Activity up to the cutoff in, one row per customer (`customer_id`: the number) with every aggregate feature out.

    A feature that looks back further than the log reaches (`history_days`) is null for everybody.
    """
    features = [f for f in all_features(inputs, families) if f.kind == "aggregate"]
    known = [f for f in features if f.days_needed <= history_days]
    joined: Any = people
    values: dict[str, Any] = {}
    for family, reach, wanted in _passes(known, {family.name: family for family in (*families, *inputs.own)}):
        days = _days(cut[family.table], last, reach)
        days = family.prepare(days, inputs) if family.prepare else days
        found = days.group_by("customer_id").aggregate(**{f.name: f.compute(days).cast("float64") for f in wanted})
        # Its own name for the key, so that no join has to tell two columns of one name apart.
        found = found.rename({f"customer_of_{len(values)}": "customer_id"})
        joined = joined.left_join(found, joined.number == found[found.columns[0]])
        values |= {f.name: _present(f, found[f.name]) for f in wanted}
    missing = {f.name: ibis.null("float64") for f in features if f.name not in values}
    rows: ir.Table = joined.select(customer_id=people.number, **values, **missing)
    return rows


def derived(
    aggregates: ir.Table,
    people: ir.Table,
    history_days: int,
    inputs: Inputs,
    families: Sequence[Family],
    fitted: BgNbd | None,
) -> ir.Table:
    """What `aggregated` gave in, one row per snapshot with every feature as float64 out.

    `fitted`: the BG/NBD model of these customers; None where none can be fitted.
    """
    features = all_features(inputs, families)
    rows: Any = aggregates.mutate(**parameters(fitted))
    worked_out = {f.name: f for f in features if f.kind == "derived"}
    values = {name: _known(f, f.compute(rows), history_days) for name, f in worked_out.items()}
    # A rank carries all columns of its table through a sort: so those that it asks for, in a table of their own.
    ranks = [name for name, value in values.items() if value.op().find(ops.WindowFunction)]
    asked = {one.name for name in ranks for one in values[name].op().find(ops.Field) if one.rel == rows.op()}
    narrow = aggregates.select(sorted(asked & set(aggregates.columns) | {"customer_id"})).mutate(**parameters(fitted))
    ranked = narrow.select(
        ranked="customer_id",
        **{name: _known(worked_out[name], worked_out[name].compute(narrow), history_days) for name in ranks},
    )
    named = people.select("number", person="customer_id", cutoff_date="cutoff_date")
    joined = rows.inner_join(named, rows.customer_id == named.number)
    if ranks:
        joined = joined.inner_join(ranked, rows.customer_id == ranked.ranked)
    found = {f.name: rows[f.name] for f in features if f.kind == "aggregate"}
    found |= values | {name: ranked[name] for name in ranks}
    in_order = {f.name: found[f.name] for f in features}
    table: ir.Table = joined.select(customer_id=named.person, cutoff_date=named.cutoff_date, **in_order)
    return table


def _passes(features: Sequence[Feature], family_of: Mapping[str, Family]) -> Iterator[Pass]:
    """The aggregate features in, the passes over the days that they share out."""

    def shared(feature: Feature) -> tuple[str, str, int]:
        family = family_of[feature.family]
        if family.prepare:
            return family.table, f"{family.prepare.__module__}.{family.prepare.__qualname__}", 0
        return family.table, "", _reach(feature)

    for (_, _, reach), group in groupby(sorted(features, key=shared), shared):
        wanted = list(group)
        for first in range(0, len(wanted), AT_ONCE):
            yield Pass(family_of[wanted[first].family], reach, wanted[first : first + AT_ONCE])


def _reach(feature: Feature) -> int:
    """How far back a feature's pass goes, in days: features of a like reach share one. 0: over the whole log."""
    if feature.whole or not feature.days_needed:
        return 0
    return next((reach for reach in REACHES if feature.days_needed <= reach), 0)


def _of_people(table: Any, people: Any, last: Any) -> Any:
    """An activity table in, its rows up to the cutoff of these people, by number, with their last order, out."""
    known = people.select("number", "last_order", person="customer_id")
    rows = table.filter(table.activity_date <= last).inner_join(known, table.customer_id == known.person)
    others = {name: table[name] for name in table.columns if name != "customer_id"}
    return rows.select(customer_id=known.number, **others, last_order=known.last_order)


def _days(cut: Any, last: Any, reach: int = 0) -> Any:
    """Activity up to the cutoff in, its newest `reach` days (0: all) with their age, and what else they need, out."""
    if reach:
        cut = cut.filter(cut.activity_date > last - ibis.interval(days=reach))
    return cut.mutate(
        age=last.delta(cut.activity_date, unit="day").cast("int64"),
        silence=last.delta(cut.last_order, unit="day").cast("int64"),
        weekday=cut.activity_date.day_of_week.index().cast("int64"),
        cutoff_date=last,
    )


def _literal(day: date) -> Any:
    return ibis.literal(day, type="date")


def _known(feature: Feature, value: Any, history_days: int) -> Any:
    return value.cast("float64") if feature.days_needed <= history_days else ibis.null("float64")


def _present(feature: Feature, value: Any) -> Any:
    absent = feature.entry.absent
    return value if absent is None else value.coalesce(ibis.literal(absent, type="float64"))
