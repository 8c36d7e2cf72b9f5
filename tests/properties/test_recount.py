"""Reasons that survive a recount: every number that a reason prints, counted again from the raw rows in plain Python."""

from __future__ import annotations

import os
import random
from datetime import date, datetime, timedelta
from statistics import fmean, median
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.windows import YEAR_DAYS, ChurnWindows, Period
from lapse.features.build import build_features
from lapse.features.catalogue import all_features
from lapse.features.family import Inputs
from lapse.scoring.reason_wording import fill_in, names_in, text_of
from lapse.scoring.reasons import strongest_causes, typical_values
from lapse.snapshots import eligible_customers
from tests.conftest import log_of, roll_up

CUTOFF = date(2024, 12, 31)
FIRST = CUTOFF - timedelta(days=599)
PERIOD = Period(FIRST, CUTOFF, CUTOFF)
WINDOWS = ChurnWindows(active_days=120, horizon_days=30)
GIVEN = frozenset({"amount", "category", "product_id", "quantity", "discount", "events", "feedback"})
INPUTS = Inputs((30, 90), GIVEN, ("visit", "mail", "reply", "complaint"), {"mail": ("reply", "mail")},
                service={"complaint": ("complaint",)}, open_cases={"case": ("mail", "reply")})  # fmt: skip
FEATURES = all_features(INPUTS)
Log = dict[str, list[dict[str, Any]]]


def shop(seed: int, customers: int = 60) -> Log:
    """Return the raw rows of a shop whose customers differ in rhythm, and some of whom slow down or fall silent."""
    draw = random.Random(seed)
    lines, events, feedback = [], [], []
    for number in range(customers):
        who, gap = f"c{number}", draw.choice([3, 7, 14, 30, 60])
        day, last = FIRST + timedelta(days=draw.randrange(560)), CUTOFF - timedelta(days=draw.choice([0, 0, 20, 60]))
        while day <= last:
            for order in range(draw.choice([1, 1, 1, 2])):
                for _ in range(draw.choice([1, 1, 2, 3])):
                    amount = draw.choice(["0", "0.50", "9.99", "25", "120"])
                    lines.append({
                        "customer_id": who, "ordered_at": f"{day} {draw.randrange(24):02}:00:00",
                        "order_id": f"{who} {day} {order}", "product_id": draw.choice("pqrst"), "quantity": draw.randrange(1, 4),
                        "category": draw.choice(["tea", "jam", "cake", None]), "amount": amount,
                        "discount": draw.choice(["0", "0", "1.50"]),
                    })  # fmt: skip
            if draw.random() < 0.1:
                back = {"order_id": f"{who} {day} back", "product_id": "p", "amount": "-5", "quantity": 1}
                lines.append({"customer_id": who, "ordered_at": f"{day} 12:00:00", **back})
            if draw.random() < 0.3:
                feedback.append({"customer_id": who, "rated_at": f"{day} 20:00:00", "rating": draw.randrange(1, 6)})
            gap = gap + draw.choice([0, 0, 0, 2]) if draw.random() < 0.8 else max(1, gap - 2)
            day += timedelta(days=max(1, gap + draw.randrange(-1, 2)))
        for _ in range(draw.randrange(12)):
            moment = f"{CUTOFF - timedelta(days=draw.randrange(200))} 09:00:00"
            events.append({"customer_id": who, "occurred_at": moment, "event_type": draw.choice(INPUTS.event_types)})
    return {"lines": lines, "events": events, "feedback": feedback}


class Customer:
    """One customer's raw rows, and what can be counted in them."""

    def __init__(self, log: Log, who: str) -> None:
        def of(name: str, moment: str) -> list[tuple[int, dict[str, Any]]]:
            mine = [row for row in log[name] if row["customer_id"] == who]
            return [((CUTOFF - datetime.fromisoformat(row[moment]).date()).days, row) for row in mine]

        self.all_lines, self.events, self.ratings = (
            of("lines", "ordered_at"),
            of("events", "occurred_at"),
            of("feedback", "rated_at"),
        )
        self.lines = [(age, row) for age, row in self.all_lines if float(row["amount"]) > 0]
        self.days = sorted({age for age, _ in self.lines}, reverse=True)
        self.gaps = [before - after for before, after in zip(self.days, self.days[1:], strict=False)]
        self.silence, self.tenure = self.days[-1], self.days[0]

    def within(self, first: int, last: int) -> list[dict[str, Any]]:
        return [row for age, row in self.lines if first <= age < last]

    def orders(self, first: int = 0, last: int = 10_000) -> int:
        return len({row["order_id"] for row in self.within(first, last)})

    def spend(self, first: int = 0, last: int = 10_000) -> float:
        return sum(float(row["amount"]) for age, row in self.all_lines if first <= age < last)

    def kinds(self, first: int, last: int, column: str = "category") -> set[str]:
        return {row[column] for row in self.within(first, last) if row[column] is not None}

    def did(self, *types: str, days: int = 10_000) -> int:
        return sum(1 for age, row in self.events if row["event_type"] in types and age < days)

    def new_kinds(self, days: int) -> int:
        first_age: dict[str, int] = {}
        for age, row in self.lines:
            if row["category"] is not None:
                first_age[row["category"]] = max(age, first_age.get(row["category"], 0))
        return sum(1 for age in first_age.values() if age < days)

    def products_by_day(self) -> list[set[str]]:
        return [{row["product_id"] for age, row in self.lines if age == day} for day in self.days]

    def discounted(self, ages: set[int]) -> float:
        off = sum(float(row.get("discount") or 0) for age, row in self.lines if age in ages)
        return off / (off + sum(float(row["amount"]) for age, row in self.lines if age in ages))


def recount(one: Customer, everybody: list[Customer]) -> dict[str, float]:
    """Return the numbers that reasons print, by the names that they print them under."""
    cohort = [other for other in everybody if other.tenure // 91 == one.tenure // 91]
    span = one.tenure + 1
    found: dict[str, float] = {
        "days_since_last_order": one.silence, "tenure_days": one.tenure, "purchase_days_count": len(one.days),
        "orders_per_30_days": one.orders() * 30 / span, "peers_count": len(cohort),
        "orders_same_season": one.orders(YEAR_DAYS - 30, YEAR_DAYS),
        "mean_order_value": sum(float(row["amount"]) for _, row in one.lines) / one.orders(),
        "units_per_order": sum(row["quantity"] for _, row in one.lines) / one.orders(),
        "lines_per_order": len(one.lines) / one.orders(),
        "days_since_engagement": min((age for age, row in one.events if row["event_type"] != "mail"), default=np.nan),
        "answer_count_mail": one.did("reply"), "call_count_mail": one.did("mail"),
        "unresolved_case": one.did("mail") - one.did("reply"),
        "discount_share_ever": one.discounted(set(one.days)), "first_order_discount": one.discounted({one.tenure}),
        "discount_only_share": fmean(
            all(float(row.get("discount") or 0) > 0 for age, row in one.lines if age == day) for day in one.days
        ),
        "last_weekday_share": fmean((CUTOFF - timedelta(days=day)).weekday() == (CUTOFF - timedelta(days=one.silence)).weekday()
                                    for day in one.days),
    }  # fmt: skip
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
    for days in (30, 90):
        now, bought = one.orders(0, days), one.within(0, days)
        ages = {age for age, _ in one.lines if age < days}
        found |= {
            f"order_count_{days}d": now, f"order_count_change_{days}d": now - one.orders(days, 2 * days),
            f"order_count_change_year_{days}d": now - one.orders(YEAR_DAYS, YEAR_DAYS + days),
            f"net_spend_{days}d": one.spend(0, days), f"net_spend_change_{days}d": one.spend(0, days) - one.spend(days, 2 * days),
            f"category_count_{days}d": len(one.kinds(0, days)), f"new_categories_{days}d": one.new_kinds(days),
            f"return_days_{days}d": len({age for age, row in one.all_lines if float(row["amount"]) < 0 and age < days}),
            f"engagement_count_{days}d": one.did("visit", "reply", "complaint", days=days),
            f"trouble_count_complaint_{days}d": one.did("complaint", days=days),
            f"event_count_visit_{days}d": one.did("visit", days=days), f"event_count_reply_{days}d": one.did("reply", days=days),
        }  # fmt: skip
        if bought:
            for name, column in (("categories", "category"), ("products", "product_id")):
                kinds = sum(len({r[column] for age, r in one.lines if age == day and r[column]}) for day in ages)
                found[f"{name}_per_purchase_day_{days}d"] = kinds / len(ages)
            usual = found["mean_order_value"]
            found[f"order_value_change_{days}d"] = sum(float(row["amount"]) for row in bought) / now / usual
        if span >= 2 * days:
            found[f"earlier_orders_per_30_days_{days}d"] = (one.orders() - now) * 30 / (span - days)
    if one.kinds(0, 90):
        found["dropped_categories_30d_90d"] = len(one.kinds(0, 90) - one.kinds(0, 30)) / len(one.kinds(0, 90))
    for kind in ("visit", "reply"):
        found[f"days_since_{kind}"] = min((age for age, row in one.events if row["event_type"] == kind), default=np.nan)
    return found | ratings(one)


def ratings(one: Customer) -> dict[str, float]:
    if not one.ratings:
        return {}
    given = sorted((age, row["rating"]) for age, row in one.ratings)
    days = sorted({age for age, _ in given})
    found: dict[str, float] = {
        "rating_count": len(given), "rating_mean": fmean(rating for _, rating in given), "days_since_last_rating": days[0],
        "rating_last": fmean(rating for age, rating in given if age == days[0]),
        "lukewarm_share": fmean(rating == 3 for _, rating in given),
    }  # fmt: skip
    return found | ({"rating_silence": days[0] * (len(days) - 1) / (days[-1] - days[0])} if len(days) > 1 else {})


def weeks_and_months(one: Customer) -> dict[str, float]:
    dates = [CUTOFF - timedelta(days=age) for age in one.days]
    first_week, last_week = (day - timedelta(days=day.weekday()) for day in (dates[0], CUTOFF))
    months = (CUTOFF.year - dates[0].year) * 12 + CUTOFF.month - dates[0].month + 1
    weeks = (last_week - first_week).days // 7 + 1
    return {
        "active_weeks_share": len({day - timedelta(days=day.weekday()) for day in dates}) / weeks,
        "active_months_share": len({(day.year, day.month) for day in dates}) / months,
    }


NOT_RECOUNTED = {"rating_to_others", "response_share_mail", "no_order_by_model", "last_daypart_share"}
SEEDS = range(40 if os.environ.get("LAPSE_TESTS") == "long" else 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_number_that_a_reason_prints_is_what_the_raw_rows_say(seed: int, engine: Engine) -> None:
    log = shop(seed)
    tables = log_of(engine, **log)
    activity = {name: engine.materialize(table, f"recount_{name}") for name, table in roll_up(tables).items()}
    snapshots = engine.materialize(eligible_customers(activity["purchase_days"], CUTOFF, WINDOWS, PERIOD), "recounted")
    rows = build_features(engine, activity, snapshots, CUTOFF, PERIOD.history_days(CUTOFF), INPUTS)
    everybody = {who: Customer(log, who) for who in rows["customer_id"]}
    counted = pd.DataFrame([recount(one, list(everybody.values())) | weeks_and_months(one) for one in everybody.values()])
    said = said_of(rows, seed)
    printed = {name for texts in said for feature, text in texts for name in names_in(text)}
    assert printed - NOT_RECOUNTED <= set(counted.columns), "a kind of reason that nothing recounts"
    for name in sorted(printed & set(counted.columns) - NOT_RECOUNTED):
        got, want = rows[name].to_numpy("float64"), counted[name].to_numpy("float64")
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9, err_msg=name)
    assert len(printed) > 40, "the shop has something of every kind"


def said_of(rows: pd.DataFrame, seed: int) -> list[list[tuple[str, str]]]:
    """Return, for each customer, the features and texts of what is said under random contributions."""
    draw = np.random.default_rng(seed)
    contributed = pd.DataFrame(draw.normal(size=(len(rows), len(FEATURES))), columns=[f.name for f in FEATURES]).assign(
        base=0.0
    )
    typical = typical_values(rows, FEATURES)
    found = []
    for number, why in enumerate(strongest_causes(rows, contributed, FEATURES, typical)):
        row = rows.drop(columns=["customer_id", "cutoff_date"]).iloc[number].to_dict()
        texts = [
            (feature.name, text)
            for direction, group in ((1, why.reasons), (-1, why.protective))
            for reason in group
            for feature in FEATURES
            if (text := text_of(feature, direction)) and fill_in(text, row, typical.get(feature.name, np.nan)) == reason.text
        ]
        found.append(texts)
    return found
