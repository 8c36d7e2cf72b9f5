"""The numbers that reasons print, counted again from raw rows in plain Python."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from functools import cache
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import numpy as np
import pandas as pd

from lapse.core.windows import YEAR_DAYS
from lapse.features.family import Inputs

Log = dict[str, list[dict[str, Any]]]
MOMENTS = {"lines": "ordered_at", "events": "occurred_at", "feedback": "rated_at", "contracts": "started_date"}
SHRINKAGE = 5
"""Ratings of the usual size that a product or a word is taken to have besides its own."""


def day_of(moment: Any) -> date:
    return datetime.fromisoformat(moment).date() if isinstance(moment, str) else pd.Timestamp(moment).date()


def customers_of(log: Log, cutoff: date) -> dict[str, Customer]:
    """Return each customer's own rows up to the cutoff, with their age in days."""
    mine: dict[str, dict[str, list[tuple[int, dict[str, Any]]]]] = defaultdict(lambda: defaultdict(list))
    for name, moment in MOMENTS.items():
        for row in log.get(name, ()):
            age = (cutoff - day_of(row[moment])).days
            if age >= 0:
                mine[row["customer_id"]][name].append((age, row))
    every = [((cutoff - day_of(row["rated_at"])).days, row) for row in log.get("feedback", ())]
    return {who: Customer(rows, cutoff, [rating for rating in every if rating[0] >= 0]) for who, rows in mine.items()}


def signed(row: dict[str, Any]) -> float:
    """Return an amount: that of a return is below 0, whatever its sign; without money 1 stands for it."""
    if row["amount"] is None:
        return 1.0
    return -abs(float(row["amount"])) if row.get("is_return") else float(row["amount"])


class Customer:
    """One customer's raw rows, and what can be counted in them."""

    def __init__(
        self,
        rows: dict[str, list[tuple[int, dict[str, Any]]]],
        cutoff: date,
        every_rating: list[tuple[int, dict[str, Any]]],
    ) -> None:
        self.cutoff, self.every_rating = cutoff, every_rating
        self.all_lines = [(age, {**row, "amount": signed(row)}) for age, row in rows["lines"]]
        self.events, self.ratings, self.contracts = rows["events"], rows["feedback"], rows["contracts"]
        self.lines = [(age, row) for age, row in self.all_lines if row["amount"] > 0]
        self.days = sorted({age for age, _ in self.lines}, reverse=True)
        self.gaps = [before - after for before, after in zip(self.days, self.days[1:], strict=False)]
        self.silence, self.tenure = (self.days[-1], self.days[0]) if self.days else (-1, -1)

    def within(self, first: int, last: int) -> list[dict[str, Any]]:
        return [row for age, row in self.lines if first <= age < last]

    def orders(self, first: int = 0, last: int = 10_000) -> int:
        return len({(age, row["order_id"]) for age, row in self.lines if first <= age < last})

    def spend(self, first: int = 0, last: int = 10_000) -> float:
        # Amounts have four decimals: what was bought and returned is nothing, not the last bit of a float.
        return round(sum(row["amount"] for age, row in self.all_lines if first <= age < last), 4)

    def kinds(self, first: int, last: int, column: str = "category") -> set[str]:
        return {row[column] for row in self.within(first, last) if row.get(column) is not None}

    def did(self, *types: str, days: int = 10_000) -> int:
        return sum(1 for age, row in self.events if row["event_type"] in types and age < days)

    def new_kinds(self, days: int) -> int:
        first_age: dict[str, int] = {}
        for age, row in self.lines:
            if row.get("category") is not None:
                first_age[row["category"]] = max(age, first_age.get(row["category"], 0))
        return sum(1 for age in first_age.values() if age < days)

    def products_by_day(self) -> list[set[str]]:
        return [{row.get("product_id") for age, row in self.lines if age == day} for day in self.days]

    def discounted(self, ages: set[int]) -> float:
        off = sum(float(row.get("discount") or 0) for age, row in self.lines if age in ages)
        return off / (off + sum(float(row["amount"]) for age, row in self.lines if age in ages))


def recount(
    one: Customer, everybody: list[Customer], inputs: Inputs, scale: tuple[float, float] = (1, 5)
) -> dict[str, float]:
    """Return the numbers that reasons print, by the names that they print them under."""
    if not one.days:
        return contracts(one)
    cohort = [other for other in everybody if other.tenure // 91 == one.tenure // 91]
    span, engaged = one.tenure + 1, [kind for kind in inputs.event_types if kind not in inputs.not_engagement]
    found: dict[str, float] = {
        "days_since_last_order": one.silence, "tenure_days": one.tenure, "purchase_days_count": len(one.days),
        "orders_per_30_days": one.orders() * 30 / span, "peers_count": len(cohort),
        "orders_same_season": one.orders(YEAR_DAYS - inputs.horizon_days, YEAR_DAYS),
        "mean_order_value": sum(float(row["amount"]) for _, row in one.lines) / one.orders(),
        "units_per_order": sum(float(row.get("quantity") or 0) for _, row in one.lines) / one.orders(),
        "lines_per_order": len(one.lines) / one.orders(),
        "days_since_engagement": min((age for age, row in one.events if row["event_type"] in engaged), default=np.nan),
        "discount_share_ever": one.discounted(set(one.days)), "first_order_discount": one.discounted({one.tenure}),
        "discount_only_share": fmean(
            all(float(row.get("discount") or 0) > 0 for age, row in one.lines if age == day) for day in one.days
        ),
        "last_weekday_share": fmean((one.cutoff - timedelta(days=day)).weekday() == (one.cutoff - timedelta(days=one.silence)).weekday()
                                    for day in one.days),
    }  # fmt: skip
    if one.lines[0][1].get("hour") is not None:
        part = {day: min(row["hour"] for age, row in one.lines if age == day) // 6 for day in one.days}
        found["last_daypart_share"] = fmean(part[day] == part[one.silence] for day in one.days)
    # Lines of zero value are neither orders nor returns: they count for neither side of the share.
    returned = sum(float(row["amount"]) < 0 for _, row in one.all_lines)
    found["return_share"] = returned / (returned + len(one.lines))
    seen: set[str] = set()
    again = total = 0
    for day in one.products_by_day():
        again, total, seen = again + len(day & seen), total + len(day), seen | day
    found["repeat_product_share"] = again / total
    for name, rank in (("rank_of_silence", lambda c: c.silence), ("rank_of_orders", lambda c: len(c.days))):
        below = sum(rank(other) < rank(one) for other in cohort)
        found[name] = below / (len(cohort) - 1) if len(cohort) > 1 else 0.0
    if one.gaps:
        found |= {"gap_days_mean": fmean(one.gaps), "gap_days_median": median(one.gaps), "gap_days_longest": max(one.gaps),
                  "gap_days_recent": fmean(one.gaps[-3:]), "overdue_ratio": one.silence / median(one.gaps),
                  "silence_exceeds_gaps": fmean(gap < one.silence for gap in one.gaps)}  # fmt: skip
    if len(one.gaps) > 1:
        found["gap_days_slope"] = float(np.polyfit(range(len(one.gaps)), one.gaps, 1)[0])
    if len(one.gaps) > 3:
        found["gap_days_before"] = fmean(one.gaps[:-3])
    for name, (reply, outreach) in inputs.responses.items():
        found |= {f"answer_count_{name}": one.did(reply), f"call_count_{name}": one.did(outreach)}
    for name, (opened, closed) in inputs.open_cases.items():
        found[f"unresolved_{name}"] = one.did(opened) - one.did(closed)
    found |= in_windows(one, inputs, engaged, found["mean_order_value"])
    for short, long in pairwise(inputs.windows):
        if kinds := one.kinds(0, long):
            found[f"dropped_categories_{short}d_{long}d"] = len(kinds - one.kinds(0, short)) / len(kinds)
    for kind in inputs.event_types:
        found[f"days_since_{kind}"] = min((age for age, row in one.events if row["event_type"] == kind), default=np.nan)
    return found | ratings(one, scale) | weeks_and_months(one) | contracts(one)


def in_windows(one: Customer, inputs: Inputs, engaged: list[str], usual: float) -> dict[str, float]:
    found: dict[str, float] = {}
    span = one.tenure + 1
    for days in inputs.windows:
        now, bought = one.orders(0, days), one.within(0, days)
        ages = {age for age, _ in one.lines if age < days}
        found |= {
            f"order_count_{days}d": now, f"order_count_change_{days}d": now - one.orders(days, 2 * days),
            f"order_count_change_year_{days}d": now - one.orders(YEAR_DAYS, YEAR_DAYS + days),
            f"net_spend_{days}d": one.spend(0, days), f"net_spend_change_{days}d": one.spend(0, days) - one.spend(days, 2 * days),
            f"category_count_{days}d": len(one.kinds(0, days)), f"new_categories_{days}d": one.new_kinds(days),
            f"return_days_{days}d": len({age for age, row in one.all_lines if float(row["amount"]) < 0 and age < days}),
            f"engagement_count_{days}d": one.did(*engaged, days=days),
            **{f"trouble_count_{name}_{days}d": one.did(*kinds, days=days) for name, kinds in inputs.service.items()},
            **{f"event_count_{kind}_{days}d": one.did(kind, days=days) for kind in inputs.event_types},
        }  # fmt: skip
        if bought:
            for name, column in (("categories", "category"), ("products", "product_id")):
                kinds = sum(len({r[column] for age, r in one.lines if age == day and r.get(column)}) for day in ages)
                found[f"{name}_per_purchase_day_{days}d"] = kinds / len(ages)
            found[f"order_value_change_{days}d"] = sum(float(row["amount"]) for row in bought) / now / usual
        if span >= 2 * days:
            found[f"earlier_orders_per_30_days_{days}d"] = (one.orders() - now) * 30 / (span - days)
    return found


def ratings(one: Customer, scale: tuple[float, float]) -> dict[str, float]:
    if not one.ratings:
        return {}
    given = sorted((age, float(row["rating"])) for age, row in one.ratings)
    third = (scale[1] - scale[0]) / 3
    low, high = scale[0] + third, scale[1] - third
    days = sorted({age for age, _ in given})
    found: dict[str, float] = {
        "rating_count": len(given), "rating_mean": fmean(rating for _, rating in given), "days_since_last_rating": days[0],
        "rating_last": fmean(rating for age, rating in given if age == days[0]),
        "lukewarm_share": fmean(low <= rating <= high for _, rating in given),
    }  # fmt: skip
    found |= beside_others(one) | sentiment(one)
    return found | ({"rating_silence": days[0] * (len(days) - 1) / (days[-1] - days[0])} if len(days) > 1 else {})


def rounded(number: float) -> float:
    return float(np.floor(number * 10_000 + 0.5) / 10_000)


def beside_others(one: Customer) -> dict[str, float]:
    """Return how far the customer's ratings lie from those that others gave the same product before."""
    apart = compared = 0.0
    mine = defaultdict(list)
    for age, row in one.ratings:
        mine[age, row.get("product_id") or ""].append(float(row["rating"]))
    for (age, product), own in mine.items():
        before = [
            (row["customer_id"], row.get("product_id") or "", float(row["rating"])) for a, row in one.every_rating if a > age
        ]
        values = [rating for _, _, rating in before]
        if not values or (variance := fmean(v * v for v in values) - fmean(values) ** 2) <= 1e-9:
            continue
        usual, who = fmean(values), one.ratings[0][1]["customer_id"]
        others = [rating for customer, what, rating in before if what == product and customer != who]
        expected = (sum(others) + usual * SHRINKAGE) / (len(others) + SHRINKAGE) if product else usual
        apart += rounded((sum(own) - expected * len(own)) / variance**0.5)
        compared += len(own)
    return {"rating_to_others": apart / compared} if compared else {}


@cache
def words_of(comment: str) -> list[str]:
    letters = "".join(sign if sign.isalnum() else " " for sign in comment.lower())
    return list(dict.fromkeys(letters.split()[:50]))


def sentiment(one: Customer) -> dict[str, float]:
    """Return by how much others' ratings differed from the usual, on earlier days, when they used the same words."""
    spoken = [(age, row) for age, row in one.every_rating if row.get("comment")]
    who, read = one.ratings[0][1]["customer_id"], []
    for age, comment in {(age, row["comment"]) for age, row in spoken if row["customer_id"] == who}:
        before = [(row, float(row["rating"])) for a, row in spoken if a > age]
        if not before:
            continue
        usual, heard = fmean(rating for _, rating in before), []
        for word in words_of(comment):
            others = [rating for row, rating in before if row["customer_id"] != who and word in words_of(row["comment"])]
            if others:
                heard.append(rounded((sum(others) - usual * len(others)) / (len(others) + SHRINKAGE)))
        if heard:
            # As the exact decimals that they are: a mean of them may lie half-way between two.
            read.append(rounded(round(sum(heard), 4) / len(heard)))
    return {"comment_sentiment": fmean(read)} if read else {}


def weeks_and_months(one: Customer) -> dict[str, float]:
    dates = [one.cutoff - timedelta(days=age) for age in one.days]
    first_week, last_week = (day - timedelta(days=day.weekday()) for day in (dates[0], one.cutoff))
    months = (one.cutoff.year - dates[0].year) * 12 + one.cutoff.month - dates[0].month + 1
    weeks = (last_week - first_week).days // 7 + 1
    return {
        "active_weeks_share": len({day - timedelta(days=day.weekday()) for day in dates}) / weeks,
        "active_months_share": len({(day.year, day.month) for day in dates}) / months,
    }


def contracts(one: Customer) -> dict[str, float]:
    if not one.contracts:
        return {"earlier_ends": 0}
    paid = [(age, row) for age, row in one.contracts if not row.get("is_trial")]
    ends = [max(day_of(row[name]) for name in ("ended_date", "end_recorded_date") if row.get(name) is not None)
            for _, row in paid if row.get("ended_date") is not None]  # fmt: skip
    over = sum(end <= one.cutoff for end in ends)
    found: dict[str, float] = {"contract_days": max(age for age, _ in one.contracts), "earlier_ends": over,
                               "running_contracts": len(paid) - over}  # fmt: skip
    if paid:
        found["days_since_last_start"] = min(age for age, _ in paid)
    with_term = [(age, row) for age, row in paid if row.get("term_months") is not None]
    if with_term:
        began = min(age for age, _ in with_term)
        term = 31 * max(int(row["term_months"]) for age, row in with_term if age == began)
        since = in_months_of_31(one.cutoff) - in_months_of_31(one.cutoff - timedelta(days=began))
        found |= {"days_to_renewal": term - since % term, "renewals": since // term} if term else {}
    return found


def in_months_of_31(one: date) -> int:
    return (one.year * 12 + one.month) * 31 + one.day
