"""Stage features: one row per snapshot, one column per feature, computed from the days up to the cutoff alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.engine import Engine
from lapse.errors import SettingsError, sample_keys
from lapse.features.buy_till_you_die import BgNbd, fit_bg_nbd
from lapse.features.contract import contract
from lapse.features.customer import customer
from lapse.features.engagement import breadth, engagement
from lapse.features.family import Family, Feature, Inputs
from lapse.features.feedback import feedback
from lapse.features.peers import peers
from lapse.features.price import price
from lapse.features.purchasing import purchasing
from lapse.features.rhythm import rhythm
from lapse.features.service import returns, service
from lapse.features.value import value, wallet
from lapse.files import file_sha256
from lapse.history.activity import Activity
from lapse.kept import Kept, code_digest, key_of
from lapse.snapshots import cutoffs_in
from lapse.tables import FEATURES
from lapse.windows import Period

FAMILIES: tuple[Family, ...] = (
    purchasing, rhythm, value, wallet, price, returns, service, breadth, engagement, feedback, contract, customer, peers,
)  # fmt: skip
REACHES = (60, 180, 730)
FITTED_ON = 20_000
"""Of so many customers the model of all of them is fitted: more would not move its four parameters."""


def write_features(
    engine: Engine, activity: Activity, snapshots: Path, out: Path, period: Period, inputs: Inputs
) -> dict[date, int]:
    """The activity tables and the folder of snapshots in, one file of features per cutoff in `out`, rows counted out.

    A cutoff that is in `out` already, and all that went into it is the same as then, is kept as it is.
    """
    cutoffs = cutoffs_in(snapshots)
    kept = Kept(out)
    kept.leave_only(map(str, cutoffs))
    said = key_of(code_digest(*sorted(Path(__file__).parent.glob("*.py"))), inputs.to_json())
    template = Template(engine, activity, inputs)
    written = {}
    for cutoff in cutoffs:
        file = snapshots / f"{cutoff}.parquet"
        history_days = period.history_days(cutoff)
        key = key_of(said, history_days, activity.up_to(cutoff), file_sha256(file))
        if kept.has(str(cutoff), key):
            written[cutoff] = int(engine.read(file).count().to_pyarrow().as_py())
            print(f"features: {cutoff}: {written[cutoff]:,} customers, kept: nothing up to this day has changed", flush=True)
            continue
        query = template.query(engine.read(file), cutoff, history_days)
        written[cutoff] = engine.write_query(query, out / f"{cutoff}.parquet", FEATURES.key)
        kept.note(str(cutoff), key)
        number = len(all_features(inputs))
        print(f"features: {cutoff}: {written[cutoff]:,} customers × {number} features", flush=True)
    return written


class Template:
    """The query for the features of a cutoff, written once: only the cutoff and the fitted model differ between them.

    To write hundreds of features out as SQL takes longer than to compute them for some thousand customers.
    """

    CUTOFF = date(1111, 11, 11)
    FITTED = BgNbd(1.1e-101, 1.2e-102, 1.3e-103, 1.4e-104)
    """What stands in the template for the cutoff and for the model's parameters."""
    ELIGIBLE = "features_eligible"

    def __init__(self, engine: Engine, activity: Mapping[str, ir.Table], inputs: Inputs) -> None:
        self.engine, self.activity, self.inputs = engine, activity, inputs
        self._written: dict[tuple[int, bool], str] = {}

    def query(self, snapshots: ir.Table, cutoff: date, history_days: int) -> str:
        """The snapshots of a cutoff and the age of the log in, the SQL of their features out."""
        eligible = self.engine.keep(snapshots, self.ELIGIBLE)
        # Cut off and narrowed down to these customers once: each of the many scans would pay for it again.
        cut = {name: self.engine.keep(_of_customers(self.activity[name], eligible, cutoff), f"features_{name}")
               for name in self.activity}  # fmt: skip
        model = fit_population(_days(cut["purchase_days"], cutoff, 0))
        # Logs of different ages lack different features; up to the next of these ages they lack the same.
        age = max((f.days_needed for f in all_features(self.inputs) if f.days_needed <= history_days), default=0)
        if (age, model is None) not in self._written:
            fitted = self.FITTED if model else None
            made = features_of(cut, eligible, self.CUTOFF, age, self.inputs, FAMILIES, fitted)
            self._written[age, model is None] = self.engine.query(made)
        text = self._written[age, model is None]
        day, stand_in = (f"{d.year}, {d.month}, {d.day}" for d in (cutoff, self.CUTOFF))
        text = text.replace(stand_in, day).replace(str(self.CUTOFF), str(cutoff))
        for name, parameter in asdict(model).items() if model else ():
            text = text.replace(repr(getattr(self.FITTED, name)), repr(parameter))
        return text


def all_features(inputs: Inputs, families: Sequence[Family] = FAMILIES) -> list[Feature]:
    """What the delivery holds in, every feature that can be built from it out, in a fixed order."""
    features = [feature for family in (*families, *inputs.own) for feature in family.features(inputs)]
    names = [feature.name for feature in features]
    if len(set(names)) < len(names):
        taken = sorted({name for name in names if names.count(name) > 1})
        raise SettingsError(f"features: {len(taken)} names are taken twice, e.g. {sample_keys(taken)}. Rename your own.")
    return features


def left_out(inputs: Inputs, families: Sequence[Family] = FAMILIES) -> dict[str, str]:
    """What the delivery holds in, the families that cannot be built and what each lacks out."""
    reasons = {family.name: family.missing(inputs) for family in families if not family.features(inputs)}
    return {name: "no " + " and no ".join(lacking) if lacking else "nothing for it" for name, lacking in reasons.items()}


def build_features(
    activity: Mapping[str, ir.Table],
    snapshots: ir.Table,
    cutoff: date,
    history_days: int,
    inputs: Inputs,
    families: Sequence[Family] = FAMILIES,
) -> ir.Table:
    """The activity tables and the snapshots of one cutoff in, one row per snapshot with every feature as float64 out.

    `activity` maps the names of the activity tables to them. Rows after the cutoff are cut off here, once, before any
    feature sees them; `age` is the number of days from a row's day to the cutoff. A feature that looks back further than
    the log reaches (`history_days`) is null for everybody.
    """
    cut = {name: _of_customers(table, snapshots, cutoff) for name, table in activity.items()}
    fitted = fit_population(_days(cut["purchase_days"], cutoff, 0))
    return features_of(cut, snapshots, cutoff, history_days, inputs, families, fitted)


def features_of(
    cut: Mapping[str, ir.Table],
    snapshots: ir.Table,
    cutoff: date,
    history_days: int,
    inputs: Inputs,
    families: Sequence[Family],
    fitted: BgNbd | None,
) -> ir.Table:
    """As `build_features`, of activity that is cut off at the cutoff already and holds the snapshots' customers alone.

    `fitted`: the BG/NBD model of these customers; None where none can be fitted.
    """
    features = all_features(inputs, families)
    family_of = {family.name: family for family in (*families, *inputs.own)}

    def scan(feature: Feature) -> tuple[str, str, int]:
        family = family_of[feature.family]
        return family.table, family.name if family.prepare else "", _reach(feature)

    known = [f for f in features if f.kind == "aggregate" and f.days_needed <= history_days]
    joined: Any = snapshots
    values: dict[str, Any] = {}
    for (table, prepared_by, days_needed), group in groupby(sorted(known, key=scan), scan):
        wanted = list(group)
        days = _days(cut[table], cutoff, days_needed)
        if table == "purchase_days" and not days_needed:
            days = _with_silence(days, cutoff)
        prepare = family_of[prepared_by].prepare if prepared_by else None
        prepared = days if prepare is None else prepare(days, inputs)
        aggregated = prepared.group_by("customer_id").aggregate(
            **{f.name: f.compute(prepared).cast("float64") for f in wanted}
        )
        # Its own name for the key, so that no join has to tell two columns of one name apart.
        aggregated = aggregated.rename({f"customer_of_{len(values)}": "customer_id"})
        joined = joined.left_join(aggregated, joined.customer_id == aggregated[aggregated.columns[0]])
        values |= {f.name: _present(f, aggregated[f.name]) for f in wanted}
    missing = {f.name: ibis.null("float64") for f in features if f.kind == "aggregate" and f.name not in values}
    rows = joined.select(snapshots.customer_id, snapshots.cutoff_date, **values, **missing, **_parameters(fitted))
    derived = {f.name: _known(f, f.compute(rows), history_days) for f in features if f.kind == "derived"}
    table_of_all: ir.Table = rows.mutate(**derived).select("customer_id", "cutoff_date", *[f.name for f in features])
    return table_of_all


def _reach(feature: Feature) -> int:
    """How far back a feature's scan goes, in days: features of a like reach share one. 0: over the whole log."""
    if feature.whole or not feature.days_needed:
        return 0
    return next((reach for reach in REACHES if feature.days_needed <= reach), 0)


def _of_customers(table: Any, snapshots: ir.Table, cutoff: date) -> Any:
    """An activity table in, its rows up to the cutoff of the snapshots' customers out: here the future is cut off."""
    return table.filter(table.activity_date <= ibis.literal(cutoff, type="date")).semi_join(snapshots, "customer_id")


def _days(cut: Any, cutoff: date, days_needed: int) -> Any:
    """Activity up to the cutoff in, its newest `days_needed` days (0: all), with their age, out."""
    last = ibis.literal(cutoff, type="date")
    if days_needed:
        cut = cut.filter(cut.activity_date > last - ibis.interval(days=days_needed))
    return cut.mutate(age=last.delta(cut.activity_date, unit="day").cast("int64"))


def _with_silence(days: Any, cutoff: date) -> Any:
    """Purchase days in; with them the customer's days since the last order, the weekday and the cutoff out."""
    bought = days.filter(days.orders > 0)
    silence = bought.group_by("customer_id").aggregate(silence=bought.age.min())
    joined = days.left_join(silence, "customer_id")
    return joined.select(
        *[days[name] for name in days.columns],
        silence=silence.silence,
        weekday=days.activity_date.day_of_week.index().cast("int64"),
        cutoff_date=ibis.literal(cutoff, type="date"),
    )


def _parameters(model: BgNbd | None) -> dict[str, Any]:
    """The BG/NBD model of a cutoff's customers in, its parameters as columns out; nulls without one."""
    null = ibis.null("float64")
    return {
        f"bg_{name}": null if model is None else ibis.literal(getattr(model, name), type="float64")
        for name in ("r", "alpha", "a", "b")
    }


def fit_population(days: Any) -> BgNbd | None:
    """Purchase days up to a cutoff, with their age, in, the BG/NBD model of these customers out.

    Of more than FITTED_ON customers a sample by the hash of their ids. None without orders, or where no fit is found.
    """
    bought = days.filter(days.orders > 0)
    seen = bought.group_by("customer_id").aggregate(
        purchases=bought.count(), first_age=bought.age.max(), last_age=bought.age.min()
    )
    customers = int(seen.count().to_pyarrow().as_py())
    if customers > FITTED_ON:
        # The first four hex digits of the id's md5: the same customers on any engine.
        most = f"{min(65_536 * FITTED_ON // customers, 65_535):04x}"
        seen = seen.filter(seen.customer_id.hexdigest("md5").substr(0, 4) < most)
    triples = seen.group_by("purchases", "first_age", "last_age").aggregate(customers=seen.count())
    frame = triples.order_by(list(triples.columns)).to_pyarrow().to_pandas()
    if frame.empty:
        return None
    purchases, first, last, weight = (frame[name].to_numpy("float64") for name in triples.columns)
    return fit_bg_nbd(purchases - 1, first - last, first, weight)


def _known(feature: Feature, value: Any, history_days: int) -> Any:
    return value.cast("float64") if feature.days_needed <= history_days else ibis.null("float64")


def _present(feature: Feature, value: Any) -> Any:
    absent = feature.entry.absent
    return value if absent is None else value.coalesce(ibis.literal(absent, type="float64"))
