"""Stage features: one row per snapshot, one column per feature, computed from the days up to the cutoff alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from lapse.engine import Engine
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
from lapse.history.activity import Activity
from lapse.files import file_sha256
from lapse.kept import Kept, code_digest, key_of
from lapse.snapshots import cutoffs_in
from lapse.tables import FEATURES
from lapse.windows import Period, observation_window

FAMILIES: tuple[Family, ...] = (
    purchasing, rhythm, value, wallet, price, returns, service, breadth, engagement, feedback, contract, customer, peers,
)  # fmt: skip
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
    code = code_digest(*sorted(Path(__file__).parent.glob("*.py")))
    said = key_of(code, inputs.to_json())
    written = {}
    for cutoff in cutoffs:
        eligible = snapshots / f"{cutoff}.parquet"
        key = key_of(said, period.history_days(cutoff), activity.up_to(cutoff), file_sha256(eligible))
        rows = engine.read(eligible)
        if kept.has(str(cutoff), key):
            written[cutoff] = int(rows.count().to_pyarrow().as_py())
            print(f"features: {cutoff}: {written[cutoff]:,} customers, kept: nothing up to this day has changed", flush=True)
            continue
        features = build_features(activity, rows, cutoff, period.history_days(cutoff), inputs)
        written[cutoff] = engine.write(features, out / f"{cutoff}.parquet", FEATURES.key)
        kept.note(str(cutoff), key)
        print(f"features: {cutoff}: {written[cutoff]:,} customers × {len(features.columns) - 2} features", flush=True)
    return written


def all_features(inputs: Inputs, families: Sequence[Family] = FAMILIES) -> list[Feature]:
    """What the delivery holds in, every feature that can be built from it out, in a fixed order."""
    return [feature for family in (*families, *inputs.own) for feature in family.features(inputs)]


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
    rows: Any = snapshots.select("customer_id", "cutoff_date")
    features = all_features(inputs, families)
    family_of = {family.name: family for family in (*families, *inputs.own)}
    aggregates = [feature for feature in features if feature.kind == "aggregate"]

    def scan(feature: Feature) -> tuple[str, str, int]:
        family = family_of[feature.family]
        # Features over the same days share a scan, and short windows read few days.
        return family.table, family.name if family.prepare else "", 0 if feature.whole else feature.days_needed

    for (table, prepared_by, days_needed), group in groupby(sorted(aggregates, key=scan), scan):
        wanted = list(group)
        if days_needed > history_days:
            rows = rows.mutate(**{feature.name: ibis.null("float64") for feature in wanted})
            continue
        days = _days(activity[table], snapshots, cutoff, days_needed)
        if table == "purchase_days" and not days_needed:
            days = _with_silence(days, cutoff)
        prepare = family_of[prepared_by].prepare if prepared_by else None
        prepared = days if prepare is None else prepare(days, inputs)
        aggregated = prepared.group_by("customer_id").aggregate(
            **{f.name: _known(f, f.compute(prepared), history_days) for f in wanted}
        )
        joined = rows.left_join(aggregated, "customer_id")
        rows = joined.select(
            *[rows[name] for name in rows.columns], **{f.name: _present(f, aggregated[f.name], history_days) for f in wanted}
        )
    if any(family.name == "peers" for family in families):
        rows = rows.mutate(**_model_of_all(_days(activity["purchase_days"], snapshots, cutoff, 0)))
    derived = {f.name: _known(f, f.compute(rows), history_days) for f in features if f.kind == "derived"}
    table_of_all: ir.Table = rows.mutate(**derived).select("customer_id", "cutoff_date", *[f.name for f in features])
    return table_of_all


def _days(table: Any, snapshots: ir.Table, cutoff: date, days_needed: int) -> Any:
    """An activity table in, the rows of the snapshots' customers out: `days_needed` days up to the cutoff; 0: all."""
    last = ibis.literal(cutoff, type="date")
    days = table.filter(table.activity_date <= last)
    if days_needed:
        days = days.filter(days.activity_date > ibis.literal(observation_window(cutoff, days_needed).start, type="date"))
    days = days.semi_join(snapshots, "customer_id")
    return days.mutate(age=last.delta(days.activity_date, unit="day").cast("int64"))


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


def _model_of_all(days: Any) -> dict[str, Any]:
    """The purchase days of a cutoff's customers in, the parameters of the BG/NBD model of them as columns out."""
    fitted = fit_population(days)
    values = {} if fitted is None else {"r": fitted.r, "alpha": fitted.alpha, "a": fitted.a, "b": fitted.b}
    return {
        f"bg_{name}": ibis.literal(values[name], type="float64") if values else ibis.null("float64")
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


def _present(feature: Feature, value: Any, history_days: int) -> Any:
    if feature.entry.absent is None or feature.days_needed > history_days:
        return value
    return value.coalesce(ibis.literal(feature.entry.absent, type="float64"))
