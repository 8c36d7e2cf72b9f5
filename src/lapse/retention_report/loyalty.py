"""What the loyalty programme brings: members against comparable customers, each order being a chance to join.

A member's joining order is the first on the day of joining or in the week after it. It is held against every order of those
who had not joined by then (a target trial at each order, Hernan & Robins 2016), over the same number of days after it; the
order itself is in no outcome. What customers had done before the order is weighted (a logistic regression of joining) and
regressed (a Poisson regression of the outcome among the others): doubly robust, for those who joined (Robins, Rotnitzky &
Zhao 1994). What the others ordered after they joined later is taken for what it would have been without: divided by 1 + the
effect, in rounds until the effect stays (a structural nested mean model, Robins 1994).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.bootstrap import interval, resamples
from lapse.core.engine import Engine
from lapse.core.tables.retention_report import LOYALTY
from lapse.core.windows import Period, Window

Floats = npt.NDArray[np.float64]
JOINING_DAYS, FEWEST, ROUNDS = 7, 50, 500
REFINED = 3
"""Rounds after which the effect stays to a tenth of a percent."""
MOST_CUSTOMERS = 20_000
"""Of more customers who never joined, a sample stands for the others."""
OUTCOMES = {"orders": "orders", "spend": "gross_spend"}
UPTAKE, EFFECT, POWER = 0.2, 0.1, 7.85
"""Of the invited who join, and the effect to be seen, in the advice on a trial; (1.96 + 0.84)^2: 5% and 80%."""


@dataclass(frozen=True)
class Programme:
    """What the programme is measured by: the event that joins it, over how many days."""

    event_type: str
    days: int
    seed: int = 7


@dataclass(frozen=True)
class Effect:
    """What was found of the programme (tables.LOYALTY), and what a trial would need."""

    rows: pd.DataFrame
    joined: int
    """Customers who joined, in the whole log."""
    measured: int
    """Of them, those with a joining order and enough log before and after it."""
    invited: int | None
    """Customers to invite, and as many not to, in a trial; None where nothing is measured."""


def loyalty_effect(engine: Engine, activity: Mapping[str, ir.Table], period: Period, programme: Programme) -> Effect:
    """Return the effect of joining on orders and spend; no rows with fewer than FEWEST members that can be measured."""
    orders, joined = programme_orders(engine, activity, period, programme)
    trials = _trials(orders, joined, period, programme)
    member = trials["member"].to_numpy(dtype=bool)
    empty = Effect(pd.DataFrame(columns=list(LOYALTY.names)), len(joined), int(member.sum()), None)
    if member.sum() < FEWEST or (~member).sum() < FEWEST:
        return empty
    known = [outcome for outcome, column in OUTCOMES.items()
             if orders[column].notna().any() and trials.loc[~member, outcome].sum() > 0]  # fmt: skip
    if not known:
        return empty
    design = _design(trials)
    odds = _odds(design, member)
    rows = [_measured(trials, outcome, design, odds, programme.seed) for outcome in known]
    others = trials.loc[~member, known[0]]
    needed = 2 * POWER * float(others.var()) / (EFFECT * UPTAKE * float(others.mean())) ** 2
    return Effect(pd.DataFrame(rows)[list(LOYALTY.names)], len(joined), int(member.sum()), int(np.ceil(needed)))


def programme_orders(
    engine: Engine, activity: Mapping[str, ir.Table], period: Period, programme: Programme
) -> tuple[pd.DataFrame, pd.Series]:
    """Return the order days of members and of a sample of the others, and customer -> day of joining, in days."""
    last = ibis.literal(period.last_complete_day, type="date")
    events: Any = activity["event_days"]
    joins = events.filter((events.event_type == programme.event_type) & (events.activity_date <= last))
    joined = engine.frame(joins.group_by("customer_id").aggregate(day=joins.activity_date.min()))
    days: Any = activity["purchase_days"]
    bought = days.filter((days.orders > 0) & (days.activity_date <= last))
    others = engine.frame(bought.select("customer_id").distinct().anti_join(joins, "customer_id"))
    place = pd.util.hash_array(others["customer_id"].to_numpy(dtype=object)).astype("float64") / 2.0**64
    picked = others[place < MOST_CUSTOMERS / max(len(others), 1)]
    wanted = ibis.memtable(pd.concat([joined[["customer_id"]], picked], ignore_index=True))
    columns = {name: bought[name].cast("float64") for name in OUTCOMES.values()}
    frame = engine.frame(bought.semi_join(wanted, "customer_id").select("customer_id", day=bought.activity_date, **columns))
    frame["day"] = _ordinal(frame["day"])
    frame = frame.sort_values(["customer_id", "day"], ignore_index=True)
    return frame, pd.Series(_ordinal(joined["day"]), index=joined["customer_id"])


def _ordinal(days: pd.Series) -> npt.NDArray[np.int64]:
    return np.asarray((pd.to_datetime(days) - pd.Timestamp(1970, 1, 1)).dt.days, dtype="int64")


def _trials(orders: pd.DataFrame, joined: pd.Series, period: Period, programme: Programme) -> pd.DataFrame:
    """Return a row per order at which a customer joined or could have: what went before it, what came after it."""
    length = programme.days
    first, last = _ordinal(pd.Series([period.first_day, period.last_complete_day]))
    rows = orders.copy()
    code = pd.factorize(rows["customer_id"])[0].astype("int64") * 10**6
    key = code + rows["day"].to_numpy()

    def within(column: str, start: int | npt.NDArray[np.int64], end: int) -> Floats:
        """Return the sum over the days from `start` to `end` after each order, both included."""
        total = np.concatenate([[0.0], orders[column].fillna(0.0).to_numpy().cumsum()])
        found: Floats = total[np.searchsorted(key, key + end, "right")] - total[np.searchsorted(key, key + start, "left")]
        return found

    ahead = (rows["customer_id"].map(joined) - rows["day"]).fillna(-1).to_numpy(dtype="int64")
    joins_later = (ahead > 0) & (ahead < length)
    for outcome, column in OUTCOMES.items():
        rows[outcome], rows[f"{outcome}_here"] = within(column, 1, length), orders[column].fillna(0.0)
        as_member = within(column, np.where(joins_later, ahead + 1, length), length)
        rows[f"{outcome}_as_member"] = np.where(joins_later, as_member, 0.0)
        rows[f"{outcome}_before"] = within(column, -length, -1)
        rows[f"{outcome}_earlier"] = within(column, -2 * length, -length - 1)
    same = rows["customer_id"].eq(rows["customer_id"].shift())
    rows["gap"] = (rows["day"] - rows["day"].shift()).where(same, 2 * length).clip(upper=2 * length)
    rows["tenure"] = rows["day"] - rows.groupby("customer_id")["day"].transform("min")
    rows["joined"] = rows["customer_id"].map(joined)
    since = rows["day"] - rows["joined"]
    at_join = since.between(0, JOINING_DAYS)
    rows["member"] = at_join & ~at_join.groupby(rows["customer_id"]).shift(fill_value=False)
    rows = rows[rows["member"] | rows["joined"].isna() | (since < 0)]
    rows = rows[(rows["day"] - 2 * length >= first) & (rows["day"] + length <= last)]
    day = {number: date(1970, 1, 1) + timedelta(days=int(number)) for number in rows["day"].unique()}
    whole = {number for number, one in day.items() if not period.has_gap_in(
        Window(one - timedelta(days=2 * length + 1), one + timedelta(days=length))
    )}  # fmt: skip
    rows = rows[rows["day"].isin(whole)].reset_index(drop=True)
    rows["quarter"] = rows["day"].map({number: (one.year, (one.month - 1) // 3) for number, one in day.items()})
    trials: pd.DataFrame = rows
    return trials


def _design(trials: pd.DataFrame) -> Floats:
    """Return what went before each order, on one scale: amounts as logarithms, and the quarter."""
    numbers = [f"{outcome}_{when}" for outcome in OUTCOMES for when in ("before", "earlier")]
    logs = np.log1p(trials[[*numbers, "gap", "tenure"]].clip(lower=0).to_numpy(dtype="float64"))
    quarters = pd.get_dummies(trials["quarter"].astype(str), drop_first=True).to_numpy(dtype="float64")
    columns = np.column_stack([logs, quarters])
    spread = columns.std(axis=0)
    scaled: Floats = (columns - columns.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    return scaled


def _odds(design: Floats, member: npt.NDArray[np.bool_]) -> Floats:
    """Return the weight of each order: 1 where the customer joined, else the odds that they would have."""
    from sklearn.linear_model import LogisticRegression

    chance = LogisticRegression(C=100.0, max_iter=1000).fit(design, member).predict_proba(design)[:, 1]
    return np.where(member, 1.0, chance / (1 - chance))


def _measured(trials: pd.DataFrame, outcome: str, design: Floats, odds: Floats, seed: int) -> dict[str, Any]:
    """Return the row of an outcome (tables.LOYALTY)."""
    from sklearn.linear_model import PoissonRegressor

    member = trials["member"].to_numpy(dtype=bool)
    gross = trials[outcome].clip(lower=0).to_numpy(dtype="float64")
    value, effect = gross, 0.0
    for _ in range(REFINED):
        value = gross - trials[f"{outcome}_as_member"].to_numpy(dtype="float64") * effect / (1 + effect)
        mean = float(value[~member].mean())
        model = PoissonRegressor(alpha=1e-4, max_iter=1000).fit(design[~member], value[~member] / mean)
        beyond = value - model.predict(design) * mean
        gain = beyond[member].mean() - np.average(beyond[~member], weights=odds[~member])
        effect = max(float(gain / (value[member].mean() - gain)), -0.9)
    with_here = trials[outcome] + trials[f"{outcome}_here"]
    own = 1 / trials.groupby(["customer_id", "member"])["day"].transform("size").to_numpy(dtype="float64")
    parts = np.column_stack([
        member, np.where(member, value, 0), np.where(member, beyond, 0),
        np.where(member, 0, odds), np.where(member, 0, odds * beyond),
        np.where(member, with_here, 0), np.where(member, 0, own), np.where(member, 0, own * gross),
    ])  # fmt: skip
    by_customer = pd.DataFrame(parts).groupby(trials["customer_id"].to_numpy(), sort=True).sum().to_numpy()
    drawn = np.array([copies @ by_customer for copies in resamples(len(by_customer), ROUNDS, seed)])
    adjusted, naive = (interval(part) or (np.nan, np.nan) for part in _percent(drawn.T))
    whole = _percent(by_customer.sum(axis=0))
    return {
        "outcome": outcome, "members": int(member.sum()), "others": int((~member).sum()),
        "members_mean": float(value[member].mean()),
        "naive": float(whole[1]), "naive_low": naive[0], "naive_high": naive[1],
        "adjusted": float(whole[0]), "adjusted_low": adjusted[0], "adjusted_high": adjusted[1],
    }  # fmt: skip


def _percent(sums: Floats) -> tuple[Any, Any]:
    """Return the adjusted and the naive effect in percent, of the sums that `_measured` makes."""
    members, value, beyond, weight, weighted, with_here, votes, voted = sums
    effect = beyond / members - weighted / weight
    mean = value / members
    return 100 * effect / (mean - effect), 100 * (with_here / members / (voted / votes) - 1)


def loyalty_sentences(effect: Effect, programme: Programme) -> list[str]:
    """Return what was found, never without what else could explain it, and how to find out."""
    sentences = []
    for row in effect.rows.to_dict("records"):
        what = "ordered" if row["outcome"] == "orders" else "spent"
        sure = row["adjusted_low"] > 0 or row["adjusted_high"] < 0
        sentences.append(
            f"In the {programme.days} days after joining, {row['members']:,} members {what} {row['adjusted']:+.1f}% "
            f"(95%: {row['adjusted_low']:+.1f} to {row['adjusted_high']:+.1f}) against customers who had done the same "
            f"before{'' if sure else ': chance may explain that'}. The naive figure, which counts the joining order and "
            f"takes the others as they are, says {row['naive']:+.1f}% ({row['naive_low']:+.1f} to "
            f"{row['naive_high']:+.1f})."
        )
    if effect.rows.empty:
        sentences.append(
            f"{effect.joined:,} customers joined ({programme.event_type}); {effect.measured:,} of them with an order then, "
            f"{2 * programme.days} days of log before it and {programme.days} after it: at least {FEWEST} are needed, and "
            "as many orders of others, after which others ordered again."
        )
    sentences.append(
        "Hidden enthusiasm could explain it as well: who likes the shop joins, and would have bought more anyway, beyond "
        "what their past orders show. Only a random invitation tells the two apart."
    )
    needed = "" if effect.invited is None else (
        f" To see {EFFECT:.0%} more orders where {UPTAKE:.0%} of the invited join, invite {effect.invited:,} customers "
        "and as many not."
    )  # fmt: skip
    sentences.append(
        "To find out: draw half of the customers who are not members at random, invite only those, and after "
        f"{programme.days} days compare all who were invited, joined or not, with all who were not.{needed}"
    )
    return sentences
