"""From the activity tables to the features of one cutoff: the cut, the passes over the days, what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pandas as pd
from ibis.backends.sql.datatypes import DuckDBType

from lapse.core.engine import Engine
from lapse.core.held_tables import PREFIX, HeldTables
from lapse.core.tables.contract import DUCKDB_TYPES, Table
from lapse.core.tables.modelling import FEATURES
from lapse.features.catalogue import FAMILIES, all_features, computed_features
from lapse.features.family import Family, Feature, Inputs
from lapse.features.people import PARAMETERS, fit_population, numbered, parameters

AT_ONCE = 16
"""Features of one pass: in DuckDB each filtered sum makes every other one of its pass dearer."""
CHUNK = 250_000
"""At most so many customers' activity is held, and aggregated to features, at once, where that bounds the memory."""


class Source(NamedTuple):
    """What features are aggregated from: an activity table, and what is made of its rows first, if anything is."""

    table: str
    prepare: Callable[[Any, Inputs], Any] | None


class Written(NamedTuple):
    """The SQL of the features of a cutoff, over tables that are held under placeholder names."""

    aggregated: str
    derived: str


_WRITTEN: dict[tuple[Any, ...], Written] = {}
"""To write hundreds of features out as SQL takes longer than to compute them for some thousand customers; the same
features of tables of the same columns have the same SQL, at every cutoff and in every run of a process."""
PLACEHOLDER = PREFIX.format(0)


@dataclass(frozen=True)
class CutoffQuery:
    """The features of one cutoff, ready to be computed, as often as wanted, inside the block that made it."""

    held: HeldTables
    sql: str

    def write(self, path: Path) -> int:
        """Write the features to a Parquet file, and return the number of customers."""
        return self.held.engine.write_query(self.sql, path, FEATURES.key)

    def frame(self) -> pd.DataFrame:
        """Return the features by customer_id."""
        engine = self.held.engine
        return engine.frame(engine.materialize_query(self.sql, self.held.name("features")).order_by("customer_id"))


class FeatureQuery:
    """The features of a log at one cutoff after the other.

    What differs between cutoffs is held in tables of the engine, which each cutoff owns: several may be open at once.
    `wanted`: the columns, in the order of the catalogue; None: as `features.set` says. What they follow from is computed
    as well, and is no column.
    """

    def __init__(
        self,
        engine: Engine,
        activity: Mapping[str, ir.Table],
        inputs: Inputs,
        families: Sequence[Family] = FAMILIES,
        wanted: Collection[str] | None = None,
    ) -> None:
        self.engine, self.activity, self.inputs = engine, activity, inputs
        every = all_features(inputs, families)
        asked = {f.name for f in computed_features(inputs, families)} if wanted is None else set(wanted)
        self.features = [feature for feature in every if feature.name in asked]
        self._families = (*families, *inputs.own)
        self._needed = asked | _fields(self.features, every)
        self.aggregated = [f for f in every if f.kind == "aggregate" and f.name in self._needed]
        source_of = {family.name: Source(family.table, family.prepare) for family in self._families}
        self.by_source: dict[Source, list[Feature]] = {}
        for feature in self.aggregated:
            self.by_source.setdefault(source_of[feature.family], []).append(feature)

    @contextmanager
    def at(self, snapshots: ir.Table, cutoff: date, history_days: int) -> Iterator[CutoffQuery]:
        """Yield the features of a cutoff's snapshots; what they are computed from is held inside the block only."""
        with HeldTables(self.engine) as held:
            yield CutoffQuery(held, self._query(held, snapshots, cutoff, history_days))

    def _query(self, held: HeldTables, snapshots: ir.Table, cutoff: date, history_days: int) -> str:
        last: Any = ibis.literal(cutoff, type="date")
        people = held.hold(numbered(self.activity["purchase_days"], snapshots, last), "people")
        asked = not self._needed.isdisjoint(PARAMETERS)
        model = held.hold(parameters(fit_population(people) if asked else None), "model")
        # Logs of different ages lack different features; up to the next of these ages they lack the same.
        age = max((f.days_needed for f in (*self.aggregated, *self.features) if f.days_needed <= history_days), default=0)
        found: list[Written] = []

        def aggregated() -> Iterator[str]:
            for whom in self._chunks(people):
                chunk = held.hold(whom, "chunk")
                cut = self._cut(held, chunk, last)
                if not found:
                    found.append(self._written(held, cut, chunk, people, model, age))
                yield found[0].aggregated.replace(PLACEHOLDER, held.prefix)

        self.engine.materialize_queries(aggregated(), held.name("aggregated"))
        return found[0].derived.replace(PLACEHOLDER, held.prefix)

    def _chunks(self, people: ir.Table) -> Iterator[ir.Table]:
        """Yield as many people at a time as fit the memory; nobody once where there is nobody."""
        if not self.engine.in_chunks:
            yield people
            return
        everybody = self.engine.count(people)
        alike = everybody // (everybody // CHUNK + 1) + 1
        for after in range(0, everybody or 1, alike):
            yield people.filter((people.number > after) & (people.number <= after + alike))

    def _cut(self, held: HeldTables, chunk: ir.Table, last: Any) -> dict[Source, ir.Table]:
        """Return the rows of a chunk of the people up to the cutoff by source, held until the next chunk's are.

        Here the future is cut off, once, before any feature sees it.
        """
        # Files of activity are sorted by customer: what lies before and after these is not read.
        ends = self.engine.frame(chunk.aggregate(first=chunk.customer_id.min(), last=chunk.customer_id.max())).iloc[0]
        cut = {}
        for number, source in enumerate(self.by_source):
            rows: Any = self.activity[source.table]
            rows = rows.filter(rows.customer_id.between(*ends)) if isinstance(ends["first"], str) else rows
            days = _days(rows, chunk, last)
            made = source.prepare(days, self.inputs) if source.prepare else days
            cut[source] = held.hold(made, f"rows_{number}", order_by="customer_id")
        return cut

    def _written(
        self,
        held: HeldTables,
        cut: Mapping[Source, ir.Table],
        chunk: ir.Table,
        people: ir.Table,
        model: ir.Table,
        history_days: int,
    ) -> Written:
        """Return the SQL of the aggregated features, and of those derived from them, written once per process."""
        columns = tuple((source.table, *table.schema().items()) for source, table in cut.items())
        names = tuple(feature.name for feature in self.features)
        key = (type(self.engine), repr(self.inputs), names, columns, history_days)
        # What a custom family reads besides its rows is not known here: its SQL is written anew.
        reusable = self._families == FAMILIES
        if reusable and key in _WRITTEN:
            return _WRITTEN[key]
        rows = self._aggregated(cut, chunk, model, history_days)
        aggregated = ibis.table(rows.schema(), name=held.name("aggregated"))
        texts = self.engine.query(rows), self.engine.query(self._derived(aggregated, people, history_days))
        written = Written(*(text.replace(held.prefix, PLACEHOLDER) for text in texts))
        if reusable:
            _WRITTEN[key] = written
        return written

    def _aggregated(self, cut: Mapping[Source, ir.Table], people: ir.Table, model: ir.Table, history_days: int) -> ir.Table:
        """Return one row per customer (`customer_id`: the number) with every aggregate feature.

        A feature that looks back further than the log reaches (`history_days`) is null for everybody. The parameters of
        the model of all customers stand beside them.
        """
        joined: Any = people.cross_join(model)
        values: dict[str, Any] = {}
        for source, wanted in self._passes(history_days):
            days: Any = cut[source]
            found = days.group_by("customer_id").aggregate(**{f.name: f.compute(days).cast("float64") for f in wanted})
            # Its own name for the key, so that no join has to tell two columns of one name apart.
            found = found.rename({f"customer_of_{len(values)}": "customer_id"})
            joined = joined.left_join(found, joined.number == found[found.columns[0]])
            values |= {f.name: _present(f, found[f.name]) for f in wanted}
        missing = {f.name: ibis.null("float64") for f in self.aggregated if f.name not in values}
        rows: ir.Table = joined.select(
            customer_id=people.number, **values, **missing, **{name: model[name] for name in model.columns}
        )
        return rows

    def _derived(self, rows: Any, people: ir.Table, history_days: int) -> ir.Table:
        """Return one row per snapshot with every feature as float64."""
        worked_out = {f.name: f for f in self.features if f.kind == "derived"}
        values = {name: _known(f, f.compute(rows), history_days) for name, f in worked_out.items()}
        # A rank carries all columns of its table through a sort: so those that it asks for, in a table of their own.
        ranks = [name for name, value in values.items() if value.op().find(ops.WindowFunction)]
        asked = {one.name for name in ranks for one in values[name].op().find(ops.Field) if one.rel == rows.op()}
        narrow = rows.select(sorted(asked | {"customer_id"}))
        ranked = narrow.select(
            ranked="customer_id",
            **{name: _known(worked_out[name], worked_out[name].compute(narrow), history_days) for name in ranks},
        )
        named = people.select("number", person="customer_id", cutoff_date="cutoff_date")
        joined = rows.inner_join(named, rows.customer_id == named.number)
        if ranks:
            joined = joined.inner_join(ranked, rows.customer_id == ranked.ranked)
        found = {f.name: rows[f.name] for f in self.features if f.kind == "aggregate"}
        found |= values | {name: ranked[name] for name in ranks}
        in_order = {f.name: found[f.name] for f in self.features}
        table: ir.Table = joined.select(customer_id=named.person, cutoff_date=named.cutoff_date, **in_order)
        return table

    def _passes(self, history_days: int) -> Iterator[tuple[Source, list[Feature]]]:
        """Yield the aggregate features that share a pass, of those that the log is old enough for."""
        for source, features in self.by_source.items():
            known = [feature for feature in features if feature.days_needed <= history_days]
            for first in range(0, len(known), AT_ONCE):
                yield source, known[first : first + AT_ONCE]


def _days(table: Any, people: Any, last: Any) -> Any:
    """Return the rows of an activity table up to the cutoff for these people, by number, with their age and the like."""
    known = people.select("number", "last_order", person="customer_id")
    rows = table.filter(table.activity_date <= last).inner_join(known, table.customer_id == known.person)
    others = {name: table[name] for name in table.columns if name != "customer_id"}
    return rows.select(
        customer_id=known.number,
        **others,
        age=last.delta(table.activity_date, unit="day").cast("int64"),
        silence=last.delta(known.last_order, unit="day").cast("int64"),
        weekday=table.activity_date.day_of_week.index().cast("int64"),
        cutoff_date=last,
    )


def empty_days(table: Table) -> Any:
    """Return an activity table as features get it, by its contract alone: for what is asked before there are rows."""
    types = {column.name: DuckDBType.from_string(DUCKDB_TYPES[column.type]) for column in table.columns}
    people = ibis.table({"number": "int64", "last_order": "date", "customer_id": "string"}, name="people")
    return _days(ibis.table(types, name=table.name), people, ibis.literal(date.max))


def _fields(features: Sequence[Feature], every: Sequence[Feature]) -> set[str]:
    """Return what the derived ones of `features` read: aggregated features, and parameters of the model of all customers."""
    columns = {f.name: "float64" for f in every if f.kind == "aggregate"}
    row = ibis.table({**columns, "customer_id": "int64", **dict.fromkeys(PARAMETERS, "float64")}, name="row")
    values = [feature.compute(row) for feature in features if feature.kind == "derived"]
    return {field.name for value in values for field in value.op().find(ops.Field)}


def _known(feature: Feature, value: Any, history_days: int) -> Any:
    return value.cast("float64") if feature.days_needed <= history_days else ibis.null("float64")


def _present(feature: Feature, value: Any) -> Any:
    default = feature.entry.default
    return value if default is None else value.coalesce(ibis.literal(default, type="float64"))
