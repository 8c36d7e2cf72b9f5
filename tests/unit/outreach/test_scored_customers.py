"""Every column of the table that lists choose from, counted again from raw rows in plain Python."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from math import ceil
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.tables.lists import SCORED_CUSTOMERS
from lapse.outreach.scored_customers import scored_customers
from tests.unit.outreach.shop import ACTIVE_DAYS, AS_OF, FIRST, Rows, money, raw_rows, settings, told

SUBSCRIPTION = {"churn": {"mode": "subscription", "active_days": ACTIVE_DAYS}}


def day(text: Any) -> date:
    return date.fromisoformat(str(text)[:10])


def mine(rows: Rows, who: str, table: str, moment: str) -> list[tuple[date, dict[str, Any]]]:
    return sorted(((day(row[moment]), row) for row in rows[table]
                   if row["customer_id"] == who and day(row[moment]) <= AS_OF), key=lambda pair: pair[0])  # fmt: skip


def ago(value: date | None) -> int | None:
    return None if value is None else (AS_OF - value).days


def recount(rows: Rows, who: str, trusted: date) -> dict[str, Any]:
    """What the raw rows of a customer say, in mode lapse."""
    lines = mine(rows, who, "lines", "ordered_at")
    bought = [(d, line) for d, line in lines if line["amount"] > 0]
    days = sorted({d for d, _ in bought})
    gaps = [(b - a).days for a, b in pairwise(days)]
    year = [line for d, line in lines if (AS_OF - d).days < 365]
    contracts = mine(rows, who, "subscriptions", "started_date")
    first = min([*days, *(d for d, _ in contracts)])
    spend = sum(money(line["amount"]) for line in year) if any((AS_OF - d).days < 365 for d, _ in lines) else None
    margin = sum(money(line["amount"]) - money(line["cost"]) for line in year)
    serve = next(row["cost_to_serve"] for row in rows["customers"] if row["customer_id"] == who)
    found: dict[str, Any] = {
        "first_seen_date": first, "days_since_first_seen": ago(first), "tenure_is_known": first >= trusted,
        "first_order_date": days[0] if days else None, "last_order_date": days[-1] if days else None,
        "days_since_last_order": ago(days[-1]) if days else None,
        "order_count": len({line["order_id"] for _, line in bought}) if lines else None,
        "purchase_days": len(days) if lines else None,
        "usual_gap_days": median(gaps) if gaps else None, "last_gap_days": gaps[-1] if gaps else None,
        "net_spend": sum(money(line["amount"]) for _, line in lines) if lines else None, "spend_last_year": spend,
        "profit_last_year": None if spend is None else margin - (serve or 0),
    }  # fmt: skip
    due = days[-1] + timedelta(days=int(median(gaps))) if gaps else None
    found |= {"next_order_date": due, "days_overdue": ago(due)}
    if first >= trusted:
        whole = [(pd.Timestamp(first) + pd.DateOffset(years=n)).date() for n in range(1, 9)]
        years = next(n for n, after in enumerate(whole, start=1) if after > AS_OF)
        found |= {"anniversary_years": years, "days_to_anniversary": (whole[years - 1] - AS_OF).days}
    ratings = mine(rows, who, "feedback", "rated_at")
    last_day = ratings[-1][0] if ratings else None
    last = [row["rating"] for d, row in ratings if d == last_day]
    before = [row["rating"] for d, row in ratings if d != last_day]
    found |= {
        "rating_count": len(ratings) or None, "rating_mean": fmean(r["rating"] for _, r in ratings) if ratings else None,
        "rating_last": fmean(last) if last else None, "rating_trend": fmean(last) - fmean(before) if before else None,
        "rating_level": (fmean(last) - 1) / 4 if last else None, "days_since_last_rating": ago(last_day),
    }  # fmt: skip
    happened = [row["event_type"] for _, row in mine(rows, who, "events", "occurred_at")]
    found["open_complaints"] = max(happened.count("opened") - happened.count("closed"), 0)
    touched = [day(row["contacted_at"]) for row in rows["contacts"] if row["customer_id"] == who]
    return found | {
        "days_since_last_contact": ago(max(touched)) if touched else None,
        "trial_end_date": trial_end(contracts),
    }


def trial_end(contracts: list[tuple[date, dict[str, Any]]]) -> date | None:
    ends = []
    for started, row in contracts:
        ended, recorded = (row[key] and day(row[key]) for key in ("ended_date", "end_recorded_date"))
        if row["is_trial"] != "true" or (ended and ended <= AS_OF):
            continue
        if ended and recorded and recorded <= AS_OF:
            ends.append(ended)
        elif row["term_months"]:
            ends.append((pd.Timestamp(started) + pd.DateOffset(months=row["term_months"])).date())
    return max((end for end in ends if end > AS_OF), default=None)


def state_of(rows: Rows, who: str, mode: str, scored: set[str]) -> str:
    if who in scored:
        return "active"
    if mode == "lapse":
        days = [d for d, line in mine(rows, who, "lines", "ordered_at") if line["amount"] > 0]
        return "prospect" if not days else "new" if (AS_OF - days[-1]).days < ACTIVE_DAYS else "lapsed"
    contracts = [row for _, row in mine(rows, who, "subscriptions", "started_date")]
    paid = [row for row in contracts if row["is_trial"] == "false"]
    if not paid:
        return "trial" if contracts else "prospect"
    running = any(not row["ended_date"] or day(row["ended_date"]) > AS_OF for row in paid)
    return "prospect" if running else "gone"


def same(ours: Any, theirs: Any) -> bool:
    if theirs is None or pd.isna(theirs):
        return bool(pd.isna(ours))
    return bool(abs(float(ours) - theirs) < 1e-6) if isinstance(theirs, float) else bool(ours == theirs)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_customer_is_there_and_every_number_is_what_the_raw_rows_say(
    engine: Engine, tmp_path: Path, seed: int
) -> None:
    rows = raw_rows(seed)
    everybody = sorted({row["customer_id"] for row in [*rows["lines"], *rows["subscriptions"]]})
    last = {who: [d for d, line in mine(rows, who, "lines", "ordered_at") if line["amount"] > 0] for who in everybody}
    # One in five of those who could be is not scored, as where churn.mode decline asks for more orders.
    scored = [who for i, who in enumerate(everybody) if last[who] and ago(last[who][-1]) < ACTIVE_DAYS and i % 5]  # type: ignore[operator]
    here = told(engine, rows, tmp_path, scored)
    table = scored_customers(engine, here, settings())
    assert list(table.columns[: len(SCORED_CUSTOMERS.names)]) == list(SCORED_CUSTOMERS.names)
    assert list(table.columns[len(SCORED_CUSTOMERS.names) :]) == ["attribute_age", "attribute_region"]
    seen = {who for who in everybody if last[who] or mine(rows, who, "subscriptions", "started_date")}
    assert set(table["customer_id"]) == seen and table["customer_id"].is_monotonic_increasing
    gaps = sorted((b - a).days for days in last.values() for a, b in pairwise(sorted(set(days))))
    trusted = FIRST + timedelta(days=gaps[ceil(0.999 * len(gaps)) - 1])
    assert set(table["tenure_is_known"]) == {True, False}
    for row in table.to_dict("records"):
        who = row["customer_id"]
        for name, value in recount(rows, who, trusted).items():
            assert same(row[name], value), f"{who} {name}: {row[name]}, recounted {value}"
        assert row["state"] == state_of(rows, who, "lapse", set(scored)), who
        assert pd.isna(row["churn_risk"]) == (who not in scored)
        if row["state"] == "lapsed":
            assert row["left_date"] == last[who][-1] + timedelta(days=ACTIVE_DAYS) and row["days_since_left"] >= 0
        else:
            assert row["left_date"] is None
    assert {"active", "lapsed", "new"} <= set(table["state"])
    risks = table.dropna(subset=["churn_risk"])
    assert [round(p, 6) for p in risks["risk_percentile"]] == [
        round(100 * sum(other <= risk for other in risks["churn_risk"]) / len(risks), 6) for risk in risks["churn_risk"]
    ]
    spenders = table[(table["days_since_last_order"] < 365).fillna(value=False) & table["spend_last_year"].notna()]
    assert [round(p, 6) for p in spenders["spend_percentile"]] == [
        round(100 * sum(o <= s for o in spenders["spend_last_year"]) / len(spenders), 6) for s in spenders["spend_last_year"]
    ]


def test_with_contracts_the_state_is_what_the_contracts_say(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(3)
    running = sorted({row["customer_id"] for _, row in [(0, r) for r in rows["subscriptions"]]
                      if row["is_trial"] == "false" and day(row["started_date"]) <= AS_OF
                      and (not row["ended_date"] or day(row["ended_date"]) > AS_OF)})  # fmt: skip
    scored, leaving = running[2:], running[:2]
    sections: dict[str, Any] = {"churn": {"mode": "subscription"}, "sources": {"subscriptions": {
        "path": "s", "columns": {"customer_id": "a", "started_date": "b"}}}}  # fmt: skip
    table = scored_customers(engine, told(engine, rows, tmp_path, scored, leaving), settings(**sections))
    states = dict(zip(table["customer_id"], table["state"], strict=True))
    assert [states[who] for who in leaving] == ["leaving"] * 2
    for who, state in states.items():
        if who not in leaving:
            assert state == state_of(rows, who, "subscription", set(scored)), who
    assert {"active", "leaving", "gone", "trial"} <= set(states.values())
    ends = {who: max(day(row["ended_date"]) for _, row in mine(rows, who, "subscriptions", "started_date")
                     if row["is_trial"] == "false") for who, state in states.items() if state == "gone"}  # fmt: skip
    gone = table[table["state"] == "gone"]
    assert dict(zip(gone["customer_id"], gone["left_date"], strict=True)) == ends


def test_what_comes_after_the_day_moves_nothing_but_contacts_and_consent(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(4)
    scored = [f"c{n:02}" for n in range(5)]
    moments = {"lines": "ordered_at", "events": "occurred_at", "feedback": "rated_at", "subscriptions": "started_date"}
    cut = {name: [row for row in table if name not in moments or day(row[moments[name]]) <= AS_OF]
           for name, table in rows.items()}  # fmt: skip
    tables = []
    for name, given in (("whole", rows), ("cut", cut)):
        (tmp_path / name).mkdir()
        tables.append(scored_customers(engine, told(engine, given, tmp_path / name, scored), settings()))
    assert sum(map(len, rows.values())) > sum(map(len, cut.values()))
    pd.testing.assert_frame_equal(*tables)
