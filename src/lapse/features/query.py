"""From the activity tables to the features of one cutoff: the cut, the passes over the days, what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

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
from lapse.features.people import HISTORY_DAYS, PARAMETERS, fit_population, numbered, parameters

AT_ONCE = 16
"""Features of one pass, where an engine does not take all of a table's at once."""
CHUNK = 100_000
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
PLACEHOLDER, DAYS_PLACEHOLDER = PREFIX.format("of_cutoff"), PREFIX.format("of_log")
PEOPLE = {"number": "int64", "code": "int32", "last_order": "date", "cutoff_date": "date"}
WHOLE_ROWS = (ops.Distinct, ops.Set, ops.DropNull, ops.FillNull, ops.CountDistinctStar)
"""What looks at all columns of its rows without naming them."""


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

    The days of all cutoffs are held from the first cutoff until the block of this ends: the columns that are asked for,
    by numbered customers. What differs between cutoffs each cutoff holds itself: several may be open at once.
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
        self._held = HeldTables(engine)
        self._days: dict[str, ir.Table] = {}
        self._codes: Any = None
        self._written_here: dict[tuple[Any, ...], Written] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._held.close()

    @contextmanager
    def at(self, snapshots: ir.Table, cutoff: date, history_days: int) -> Iterator[CutoffQuery]:
        """Yield the features of a cutoff's snapshots; what they are computed from is held inside the block only."""
        with HeldTables(self.engine) as held:
            yield CutoffQuery(held, self._query(held, snapshots, cutoff, history_days))

    def _query(self, held: HeldTables, snapshots: ir.Table, cutoff: date, history_days: int) -> str:
        if not self._days:
            self._hold_days()
        last: Any = ibis.literal(cutoff, type="date")
        people = held.hold(numbered(self._days["purchase_days"], snapshots, self._codes, last), "people")
        asked = not self._needed.isdisjoint(PARAMETERS)
        population = (
            fit_population(self.engine, self._days["purchase_days"].rename(customer_id="code"), cutoff) if asked else None
        )
        model = held.hold(parameters(population, history_days), "model")
        found: list[Written] = []

        def aggregated() -> Iterator[str]:
            for whom in self._chunks(people):
                chunk = held.hold(whom, "chunk")
                cut = self._cut(held, chunk)
                if not found:
                    found.append(self._written(held, cut, chunk, people, model))
                yield self._named(found[0].aggregated, held)

        self.engine.materialize_queries(aggregated(), held.name("aggregated"))
        return self._named(found[0].derived, held)

    def _chunks(self, people: ir.Table) -> Iterator[ir.Table]:
        """Yield as many people at a time as fit the memory; nobody once where there is nobody."""
        if not self.engine.in_chunks:
            yield people
            return
        everybody = self.engine.count(people)
        alike = everybody // (everybody // CHUNK + 1) + 1
        for after in range(0, everybody or 1, alike):
            yield people.filter((people.number > after) & (people.number <= after + alike))

    def _hold_days(self) -> None:
        """Hold the number of each customer, and what is asked of the days, customer by customer."""
        read = {source.table: source for source in self.by_source}
        tables = {name: self.activity[name] for name in ("purchase_days", *read)}
        ids = [table.select("customer_id").distinct() for table in tables.values()]
        every = ibis.union(*ids, distinct=True) if len(ids) > 1 else ids[0]
        code = (ibis.row_number().over(order_by=every.customer_id) + 1).cast("int32")
        self._codes = self._held.hold(every.select(code=code, person="customer_id"), "codes")
        for name, table in tables.items():
            used = self._used(name) | {"activity_date"} | ({"orders"} if name == "purchase_days" else set())
            rows: Any = table.inner_join(self._codes, table.customer_id == self._codes.person)
            columns = {column: table[column] for column in table.columns if column in used - {"customer_id"}}
            rows = rows.select(code=self._codes.code, **columns)
            self._days[name] = self._held.hold(rows, name, order_by="code")

    def _used(self, name: str) -> set[str]:
        """Return the columns of an activity table that the features read; all where `prepare` may compare whole rows."""
        table, used = self.activity[name], set()
        held = {"code": "int32", **dict(table.drop("customer_id").schema())}
        days = _days(ibis.table(held, name="days"), ibis.table(PEOPLE, name="people"))
        days = ibis.table(days.schema(), name="days")
        for source, features in self.by_source.items():
            if source.table != name:
                continue
            made = source.prepare(days, self.inputs) if source.prepare else days
            asked = [made.op(), *(feature.compute(made).op() for feature in features)]
            if any(one.find(WHOLE_ROWS) for one in asked):
                return set(table.columns)
            used |= {field.name for one in asked for field in one.find(ops.Field)}
        return used

    def _cut(self, held: HeldTables, chunk: ir.Table) -> dict[Source, ir.Table]:
        """Return the rows of a chunk of the people up to the cutoff by source, held until the next chunk's are.

        Here the future is cut off, once, before any feature sees it.
        """
        cut = {}
        for number, source in enumerate(self.by_source):
            days = _days(self._days[source.table], chunk)
            made = source.prepare(days, self.inputs) if source.prepare else days
            cut[source] = made if self.engine.in_one_pass else held.hold(made, f"rows_{number}", order_by="customer_id")
        return cut

    def _named(self, written: str, held: HeldTables) -> str:
        return written.replace(PLACEHOLDER, held.prefix).replace(DAYS_PLACEHOLDER, self._held.prefix)

    def _written(
        self,
        held: HeldTables,
        cut: Mapping[Source, ir.Table],
        chunk: ir.Table,
        people: ir.Table,
        model: ir.Table,
    ) -> Written:
        """Return the SQL of the aggregated features, and of those derived from them, written once per process."""
        columns = tuple((name, *table.schema().items()) for name, table in self._days.items())
        names = tuple(feature.name for feature in self.features)
        key = (type(self.engine), repr(self.inputs), names, columns)
        # What a custom family reads besides its rows is not known here: its SQL is written anew by each of these.
        written = _WRITTEN if self._families == FAMILIES else self._written_here
        if key not in written:
            rows = self._aggregated(cut, chunk, model)
            aggregated = ibis.table(rows.schema(), name=held.name("aggregated"))
            texts = self.engine.query(rows), self.engine.query(self._derived(aggregated, people))
            here = ((held.prefix, PLACEHOLDER), (self._held.prefix, DAYS_PLACEHOLDER))
            written[key] = Written(*(reduce(lambda text, name: text.replace(*name), here, text) for text in texts))
        return written[key]

    def _aggregated(self, cut: Mapping[Source, ir.Table], people: ir.Table, model: ir.Table) -> ir.Table:
        """Return one row per customer (`customer_id`: the number) with every aggregate feature.

        A feature that looks back further than the log reaches is null for everybody. The parameters of the model of all
        customers, and how far the log reaches, stand beside them.
        """
        joined: Any = people.cross_join(model)
        values: dict[str, Any] = {}
        for source, wanted in self._passes():
            days: Any = cut[source]
            found = days.group_by("customer_id").aggregate(**{f.name: f.compute(days).cast("float64") for f in wanted})
            # Its own name for the key, so that no join has to tell two columns of one name apart.
            found = found.rename({f"customer_of_{len(values)}": "customer_id"})
            joined = joined.left_join(found, joined.number == found[found.columns[0]])
            values |= {f.name: _known(f, _present(f, found[f.name]), model) for f in wanted}
        rows: ir.Table = joined.select(customer_id=people.number, **values, **{name: model[name] for name in model.columns})
        return rows

    def _derived(self, rows: Any, people: ir.Table) -> ir.Table:
        """Return one row per snapshot with every feature as float64."""
        worked_out = {f.name: f for f in self.features if f.kind == "derived"}
        values = {name: _known(f, f.compute(rows), rows) for name, f in worked_out.items()}
        # A rank carries all columns of its table through a sort: so those that it asks for, in a table of their own.
        ranks = [name for name, value in values.items() if value.op().find(ops.WindowFunction)]
        asked = {one.name for name in ranks for one in values[name].op().find(ops.Field) if one.rel == rows.op()}
        narrow = rows.select(sorted(asked | {"customer_id", HISTORY_DAYS}))
        ranked = narrow.select(
            ranked="customer_id",
            **{name: _known(worked_out[name], worked_out[name].compute(narrow), narrow) for name in ranks},
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

    def _passes(self) -> Iterator[tuple[Source, list[Feature]]]:
        """Yield the aggregate features that share a pass."""
        for source, features in self.by_source.items():
            at_once = len(features) if self.engine.in_one_pass else AT_ONCE
            for first in range(0, len(features), at_once):
                yield source, features[first : first + at_once]


def _days(rows: Any, people: Any) -> Any:
    """Return the rows of held days up to the cutoff for these people, by number, with their age and the like."""
    known = people.select("number", "last_order", "cutoff_date", person="code")
    joined = rows.inner_join(known, rows.code == known.person)
    joined = joined.filter(joined.activity_date <= joined.cutoff_date)
    last: Any = joined.cutoff_date
    others = {name: joined[name] for name in rows.columns if name != "code"}
    return joined.select(
        customer_id=joined.number,
        **others,
        age=last.delta(joined.activity_date, unit="day").cast("int64"),
        silence=last.delta(joined.last_order, unit="day").cast("int64"),
        weekday=joined.activity_date.day_of_week.index().cast("int64"),
        cutoff_date=last,
    )


def empty_days(table: Table) -> Any:
    """Return an activity table as features get it, by its contract alone: for what is asked before there are rows."""
    types = {
        column.name: DuckDBType.from_string(DUCKDB_TYPES[column.type])
        for column in table.columns
        if column.name != "customer_id"
    }
    return _days(ibis.table({"code": "int32", **types}, name=table.name), ibis.table(PEOPLE, name="people"))


def _fields(features: Sequence[Feature], every: Sequence[Feature]) -> set[str]:
    """Return what the derived ones of `features` read: aggregated features, and parameters of the model of all customers."""
    columns = {f.name: "float64" for f in every if f.kind == "aggregate"}
    row = ibis.table({**columns, "customer_id": "int64", **dict.fromkeys(PARAMETERS, "float64")}, name="row")
    values = [feature.compute(row) for feature in features if feature.kind == "derived"]
    return {field.name for value in values for field in value.op().find(ops.Field)}


def _known(feature: Feature, value: Any, log: Any) -> Any:
    """Return the value, null where the log reaches less far back than the feature looks."""
    number = value.cast("float64")
    known = log[HISTORY_DAYS] >= feature.days_needed
    return ibis.ifelse(known, number, ibis.null("float64")) if feature.days_needed else number


def _present(feature: Feature, value: Any) -> Any:
    default = feature.entry.default
    return value if default is None else value.coalesce(ibis.literal(default, type="float64"))
