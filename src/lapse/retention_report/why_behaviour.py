"""Why they leave, by behaviour: the last days before customers fell silent, against stayers of the same tenure.

Only mature cutoffs have leavers and stayers, by the labels of lapse.labels, and of what customers did, no row after the
cutoff is looked at. A leaver is compared with those who at the same cutoff had been customers as long, had ordered as
often, had been silent as long, and came back: who orders seldom has less of everything, and is silent more easily. This
says what went before, not what it was caused by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.special import ndtri

from lapse.core.bootstrap import resamples
from lapse.core.engine import Engine
from lapse.core.tables.retention_report import WHY_BEHAVIOUR
from lapse.core.windows import ChurnWindows, Period
from lapse.features.family import Inputs
from lapse.labels import churn_labels
from lapse.retention_report.behaviours import BEHAVIOURS, OF_EVERYBODY, POINTS, Behaviour, Looked
from lapse.snapshots import population

Floats = npt.NDArray[np.float64]
BANDS = {"tenure": (90, 180, 365, 730), "silence": (7, 14, 30, 60), "order_count": (1, 3, 7, 15)}
"""Where bands end: days as a customer, days since the last order, orders in the two windows before it."""
MOST_ROWS = 200_000
"""Snapshots that are held in memory; of more, only those of a sample of the customers."""
ROUNDS, AT_ONCE, CONFIDENCE = 200, 50, 0.95
FEWEST = 30
"""With fewer leavers or stayers of whom a behaviour is known, nothing is said of it."""
TABLES = ("purchase_days", "event_days", "feedback_days")


@dataclass(frozen=True)
class Question:
    """What is asked: over how many days before, by which definition of churn, and what event types mean."""

    days: int
    windows: ChurnWindows
    inputs: Inputs
    seed: int = 7


def leavers_behaviour(
    engine: Engine, activity: Mapping[str, ir.Table], cutoffs: Sequence[date], period: Period, question: Question
) -> pd.DataFrame:
    """Return how leavers differed from comparable stayers, the most telling first (tables.WHY_BEHAVIOUR).

    DataError for an immature cutoff. A behaviour that the data do not hold, or that fewer than FEWEST of either show, is not
    there.
    """
    rows = _customers(engine, activity, cutoffs, period, question)
    found = [one for behaviour in BEHAVIOURS if behaviour.name in rows for one in _compared(rows, behaviour, question)]
    table = pd.DataFrame(found, columns=[*WHY_BEHAVIOUR.names[1:], "error"])
    if table.empty:
        return pd.DataFrame(columns=list(WHY_BEHAVIOUR.names))
    # One interval for each of several questions: at 95% for all of them together, or one in two reports had a false cause.
    reach = ndtri(1 - (1 - CONFIDENCE) / 2 / len(table)) * table["error"]
    table["low"], table["high"] = table["difference"] - reach, table["difference"] + reach
    table["shows"] = (table["low"] > 0) | (table["high"] < 0)
    table["size"] = table["effect"].abs()
    table = table.sort_values(["shows", "size", "behaviour"], ascending=[False, False, True], ignore_index=True)
    return table.assign(rank=range(1, len(table) + 1))[list(WHY_BEHAVIOUR.names)]


def _customers(
    engine: Engine, activity: Mapping[str, ir.Table], cutoffs: Sequence[date], period: Period, question: Question
) -> pd.DataFrame:
    """Return a row per eligible customer and last order: churned, the group compared within, and every behaviour."""
    frames, largest = [], 1
    for cutoff in sorted(cutoffs):
        found = engine.frame(before_cutoff(activity, cutoff, period, question))
        largest = max(largest, len(found))
        picked = pd.util.hash_array(found["customer_id"].to_numpy(dtype=object)).astype("float64") / 2.0**64
        frames.append(found[picked < MOST_ROWS / (largest * len(cutoffs))].assign(cutoff_date=str(cutoff)))
    rows = pd.concat(frames, ignore_index=True).sort_values(["customer_id", "cutoff_date"], ignore_index=True)
    if question.windows.mode == "lapse":
        # The same silence, seen at two cutoffs, is one.
        rows = rows.drop_duplicates(["customer_id", "anchor"], ignore_index=True)
    rows["order_count"] = rows["order_count"].fillna(0)
    bands = [np.searchsorted(edges, rows[name]) for name, edges in BANDS.items()]
    rows["group"] = pd.factorize(pd.MultiIndex.from_arrays([rows["cutoff_date"], *bands]), sort=True)[0]
    young = rows["tenure"] - rows["silence"] < 2 * question.days
    for behaviour in BEHAVIOURS:
        if behaviour.name in rows:
            values = rows[behaviour.name].astype("float64")
            if behaviour.name in OF_EVERYBODY and values.notna().any():
                values = values.fillna(0.0)
            rows[behaviour.name] = values.mask(young) if behaviour.is_trend else values
    return rows


def before_cutoff(activity: Mapping[str, ir.Table], cutoff: date, period: Period, question: Question) -> ir.Table:
    """Return a row per eligible customer of a mature cutoff, from no row after it."""
    last, windows = ibis.literal(cutoff, type="date"), question.windows
    eligible = population(activity, cutoff, windows, period)
    labels: Any = churn_labels(eligible, activity, cutoff, windows, period)
    past = {name: activity[name].filter(activity[name].activity_date <= last) for name in TABLES}
    ordered = windows.mode == "lapse"
    days: Any = past["purchase_days"]
    held: Any = activity["subscription_days"]
    begun = (
        held.filter((held.starts > 0) & (held.activity_date <= last))
        if windows.mode == "subscription"
        else (days.filter(days.orders > 0))
    )
    anchors = begun.group_by("customer_id").aggregate(anchor=begun.activity_date.max(), first=begun.activity_date.min())
    if not ordered:
        anchors = anchors.mutate(anchor=last)
    customers: Any = labels.join(anchors, "customer_id").select("customer_id", "churned", "anchor", "first")
    result = customers.mutate(
        silence=last.delta(customers.anchor, unit="day"), tenure=last.delta(customers["first"], unit="day")
    ).drop("first")
    for name in TABLES:
        aged = past[name].join(customers.select("customer_id", "anchor"), "customer_id")
        aged = aged.mutate(age=aged.anchor.delta(aged.activity_date, unit="day")).drop("anchor")
        looked = Looked(question.days, ordered, question.inputs)
        each = {one.name: one.compute(aged, looked).cast("float64") for one in BEHAVIOURS if one.table == name}
        if name == "purchase_days":
            each["order_count"] = aged.orders.sum(where=looked.both(aged))
        result = result.left_join(aged.group_by("customer_id").aggregate(**each), "customer_id").drop("customer_id_right")
    table: ir.Table = result
    return table


def _compared(rows: pd.DataFrame, behaviour: Behaviour, question: Question) -> list[dict[str, Any]]:
    """Return a row of a behaviour; none where too few show it, or all alike.

    Within each group (a cutoff, and BANDS) the leavers' mean less the stayers'; groups count by their leavers.
    """
    known = rows[rows[behaviour.name].notna()]
    left = known["churned"].to_numpy() == 1
    values = known[behaviour.name].to_numpy(dtype="float64")
    if min(left.sum(), (~left).sum()) < FEWEST or np.ptp(values) == 0:
        return []
    groups = int(rows["group"].max()) + 1
    cell = known["group"].to_numpy() * 2 + left
    customer, _ = pd.factorize(known["customer_id"])
    size, shape = int(customer.max()) + 1, (int(customer.max()) + 1, groups * 2)
    sums, counts = (csr_matrix((weights, (customer, cell)), shape=shape) for weights in (values, np.ones(len(values))))
    draws = resamples(size, ROUNDS, question.seed)
    drawn = []
    while block := list(islice(draws, AT_ONCE)):
        copies = np.column_stack(block)
        drawn.append(_means(sums.T @ copies, counts.T @ copies))
    whole = (np.asarray(table.sum(axis=0)).reshape(-1, 1) for table in (sums, counts))
    leavers, stayers = (float(mean[0]) for mean in _means(*whole))
    if np.isnan(leavers):
        return []
    scale = 100.0 if behaviour.unit == POINTS else 1.0
    differences = np.concatenate([one - other for one, other in drawn])
    return [{
        "behaviour": behaviour.name, "leavers": leavers * scale, "stayers": stayers * scale,
        "difference": (leavers - stayers) * scale, "effect": (leavers - stayers) / float(values.std()),
        "leaver_count": int(left.sum()), "stayer_count": int((~left).sum()),
        "error": float(np.nanstd(differences)) * scale, "low": np.nan, "high": np.nan, "shows": False,
    }]  # fmt: skip


def _means(sums: Any, counts: Any) -> tuple[Floats, Floats]:
    """Return the leavers' mean and that of comparable stayers, given sums and counts of each cell × draws."""
    sums, counts = np.asarray(sums), np.asarray(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums / counts
        weight = np.where(counts[::2] > 0, counts[1::2], 0.0)
        weight = weight / weight.sum(axis=0)
    leavers, stayers = (np.where(weight > 0, mean[start::2], 0.0) for start in (1, 0))
    return (weight * leavers).sum(axis=0), (weight * stayers).sum(axis=0)


def behaviour_sentences(table: pd.DataFrame, days: int, windows: ChurnWindows) -> list[str]:
    """Return a sentence per behaviour that tells leavers from stayers, the most telling first."""
    said = {one.name: one for one in BEHAVIOURS}
    until = "their last order" if windows.mode == "lapse" else "the last cutoff"
    sentences = []
    for row in table[table["shows"].astype(bool)].to_dict("records"):
        one = said[row["behaviour"]]
        unit = " points" if one.unit == POINTS else ""
        what = one.what.format(days=days, twice=2 * days)
        sentences.append(
            f"{one.more if row['difference'] > 0 else one.less}: in the {days} days up to {until}, {row['leavers']:.1f}"
            f"{'%' if one.unit == POINTS else ''} {what}; of comparable stayers {row['stayers']:.1f}"
            f"{'%' if one.unit == POINTS else ''} (difference {row['difference']:+.1f}{unit}, {row['low']:+.1f} to "
            f"{row['high']:+.1f})."
        )
    return sentences
