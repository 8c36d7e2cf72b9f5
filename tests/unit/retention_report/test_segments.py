"""Segments by hand: fifths, classes, who moved where, and that the segments add up to everybody."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.retention_report_settings import RetentionReport
from lapse.core.windows import Period, Window
from lapse.history.profile import DataProfile
from lapse.retention.always_on import GONE, Kind, always_on
from lapse.retention.spells import ALL
from lapse.retention_report.moves import by_calendar, month_ends, moved_between
from lapse.retention_report.segments import KINDS, Segmented, best_tenth, fifths
from lapse.retention_report.stage import is_known, report
from tests.conftest import log_of, roll_up
from tests.unit.outreach import shop

FIRST, LAST = date(2023, 1, 1), date(2024, 6, 30)
YEAR_AND_A_HALF = Period(FIRST, LAST, LAST)


def test_fifths_by_hand() -> None:
    assert list(fifths(pd.Series([10.0, 20, 30, 40, 50]))) == [1, 2, 3, 4, 5]
    assert list(fifths(pd.Series([1.0, 1, 1, 2, 3]))) == [2, 2, 2, 4, 5], "equal values are in the same fifth"
    assert list(fifths(pd.Series([7.0, 7, 7]))) == [3, 3, 3], "nobody is late where all ordered on the same day"
    assert fifths(pd.Series([7.0, None])).tolist()[0] == 3
    for count in range(1, 60):
        sizes = fifths(pd.Series(range(count), dtype="float64")).value_counts()
        assert sizes.max() - sizes.reindex(range(1, 6), fill_value=0).min() <= 1


def test_the_best_tenth_by_hand() -> None:
    spend = pd.Series([0.0, 0, *range(1, 11)])
    assert list(spend[best_tenth(spend) == "best"]) == [10], "a tenth of the ten who spent anything"
    assert list(best_tenth(pd.Series([0.0, 0, 1]))) == ["others", "others", "best"]


def test_customers_count_in_the_segment_where_they_were() -> None:
    """Loyal 60: 50 stay, 5 slip, 5 lapse; at risk 40: 30 stay, 10 lapse. By the end it would be 100% and 70%."""
    became = [("loyal", "loyal")] * 50 + [("loyal", "at_risk")] * 5 + [("loyal", "lost")] * 5
    became += [("at_risk", "at_risk")] * 30 + [("at_risk", "lost")] * 10
    index = pd.Index([f"c{n}" for n in range(100)])
    start = pd.DataFrame({"is_active": True, "rfm": [before for before, _ in became]}, index=index)
    end = pd.DataFrame(
        {"is_active": [after != "lost" for _, after in became], "rfm": [after for _, after in became]}, index=index
    )
    found = moved_between({LAST: (start, end)}, ["rfm"], kind=Kind(trailing_days=30), trusted=None)
    rows = found.figures.set_index("segment")
    assert rows["strict_retention"].round(1).to_dict() == {"all": 85.0, "loyal": 91.7, "at_risk": 75.0}
    assert rows["lapsed"].to_dict() == {"all": 15, "loyal": 5, "at_risk": 10}
    assert [round(float(rows.loc["all", side]), 1) for side in ("strict_low", "strict_high")] == [76.7, 90.7]
    moves = {(row["segment"], row["end_segment"]): row["customers"] for row in found.moves.to_dict("records")}
    assert moves == {("loyal", "loyal"): 50, ("loyal", "at_risk"): 5, ("loyal", GONE): 5, ("at_risk", "at_risk"): 30,
                     ("at_risk", GONE): 10}  # fmt: skip


def segmented(engine: Engine, rows: dict[str, list[dict[str, Any]]], columns: list[str], **changed: Any) -> Segmented:
    activity = roll_up(log_of(engine, rows.get("lines", []), rows.get("events", []), rows.get("feedback", []),
                              rows.get("subscriptions", [])))  # fmt: skip
    profile = DataProfile(YEAR_AND_A_HALF, {"transactions": columns}, ["visit", "ticket"], None)
    given = Segmented(engine, activity, profile, "lapse", 90, RetentionReport(), (), FIRST)
    return replace(given, **changed)


def orders(who: str, days_ago: list[int], amount: float = 10, discount: float | None = None) -> list[dict[str, Any]]:
    return [
        {"customer_id": who, "ordered_at": f"{LAST - timedelta(days=ago)} 12:00:00", "amount": amount, "discount": discount}
        for ago in days_ago
    ]


def test_classes_by_hand(engine: Engine) -> None:
    """Of eight customers seven are active; R and FM are fifths of these seven."""
    lines = [
        *orders("best", [300, 200, 100, 50, 20, 1], 100),
        *orders("good", [280, 180, 80, 30, 5], 50),
        *orders("small", [250, 3], 5),
        *orders("quiet_good", [330, 240, 150, 110, 100, 85], 80),
        *orders("quiet_small", [310, 70], 5),
        *orders("middle", [220, 120, 40], 20),
        *orders("came", [10], 20),
        *orders("gone", [400, 95]),
    ]
    found = segmented(engine, {"lines": lines}, []).at(LAST)
    assert found["rfm"].to_dict() == {
        "best": "champions", "good": "champions", "small": "promising", "quiet_good": "needs_attention",
        "quiet_small": "about_to_lapse", "middle": "needs_attention", "came": "new", "gone": "lost",
    }  # fmt: skip
    # 1, 3, 5, 10, 40, 70 and 85 days ago; 6, 5, 2, 6, 2, 3 and 1 orders.
    assert found["recency"].dropna().to_dict() == {
        "best": 5, "small": 4, "good": 4, "came": 3, "middle": 2, "quiet_small": 2, "quiet_good": 1
    }  # fmt: skip
    assert found.loc["best", "frequency"] == found.loc["quiet_good", "frequency"] == 5
    # 600, 250, 10, 480, 10, 60 and 20 spent: middle is in the third fifth of both, by 3 of 7 below.
    assert found.loc["middle", ["frequency", "monetary"]].tolist() == [3, 3] and found["is_active"].sum() == 7


def test_before_newcomers_can_be_told_nobody_is_new(engine: Engine) -> None:
    here = segmented(engine, {"lines": [*orders("a", [10]), *orders("b", [300, 5])]}, [], trusted=LAST)
    found = here.at(LAST)
    assert "new" not in set(found["rfm"]) and set(found["tenure"]) == {"unknown"}


def test_price_service_tenure_and_referrals_by_hand(engine: Engine) -> None:
    """Of 24 lines 12 have money off: odds of 1; price-driven is who has odds of 2 or more, a share of two thirds."""
    lines = [
        *orders("deals", [60, 50, 40, 30], discount=1), *orders("deals", [20, 10], discount=None),
        *orders("half", [60, 50, 40], discount=1), *orders("half", [20, 10, 5], discount=0),
        *orders("few", [9, 8], discount=2),
        *orders("never", [400, 30, 25, 20, 15, 10, 8]), *orders("once", [30, 20, 10], discount=3), *orders("once", [9]),
    ]  # fmt: skip
    events = [{"customer_id": who, "occurred_at": f"{LAST - timedelta(days=ago)} 10:00:00", "event_type": kind}
              for who, ago, kind in (("half", 10, "ticket"), ("few", 380, "ticket"), ("deals", 3, "visit"))]  # fmt: skip
    here = segmented(engine, {"lines": lines, "events": events}, ["discount"], trouble=("ticket",),
                     settings=RetentionReport(referral_events=["Visit"]))  # fmt: skip
    found = here.at(LAST)
    share = found["discounted_lines"].sum() / found["lines"].sum()
    assert (found["discounted_lines"].sum(), found["lines"].sum()) == (12, 24) and share == 0.5
    assert found["price"].to_dict() == {
        "deals": "price_driven", "half": "others", "few": "unknown", "never": "others", "once": "unknown",
    }  # fmt: skip
    assert found["service"].to_dict() == {name: "service_sensitive" if name == "half" else "others" for name in found.index}
    assert found["best_by_referrals"].to_dict() == {name: "best" if name == "deals" else "others" for name in found.index}
    assert found.loc["never", "tenure"] == "1 to 2 years" and found.loc["few", "tenure"] == "under 3 months"


def test_contracts_without_orders_have_classes_too(engine: Engine) -> None:
    def contract(
        who: str, started: int, ended: int | None = None, recorded: int | None = None, *, trial: bool = False
    ) -> dict[str, Any]:
        days = {name: None if ago is None else str(LAST - timedelta(days=ago)) for name, ago in (
            ("started_date", started), ("ended_date", ended), ("end_recorded_date", recorded))}  # fmt: skip
        return {"customer_id": who, **days, "is_trial": str(trial).lower(), "monthly_price": 10, "term_months": None,
                "end_reason": None, "plan": None, "subscription_id": None}  # fmt: skip

    held = [contract("old", 500), contract("young", 200), contract("came", 20), contract("leaves", 400, -10, 5),
            contract("left", 300, 30), contract("tries", 5, trial=True)]  # fmt: skip
    found = segmented(engine, {"subscriptions": held}, [], mode="subscription").at(LAST)
    assert found["rfm"].to_dict() == {"came": "new", "leaves": "about_to_lapse", "left": "lost", "old": "loyal",
                                      "tries": "trial", "young": "promising"}  # fmt: skip
    here = segmented(engine, {"subscriptions": [contract("ever", 2000)]}, [], mode="subscription")
    assert here.at(LAST)["tenure"].to_list() == ["over 2 years"], "its start is on record, before the log's first day"
    assert found.loc["old", "spend"] == 120 and pd.isna(found.loc["left", "spend"])


def test_no_period_over_a_gap_in_the_log() -> None:
    """Nobody ordered in the gap for want of a log: who was active before it is not lost."""
    given = shop.settings(retention={"active_days": 90})
    whole = DataProfile(YEAR_AND_A_HALF, {}, [], None)
    broken = DataProfile(replace(YEAR_AND_A_HALF, gaps=(Window(date(2023, 9, 1), date(2023, 11, 1)),)), {}, [], None)
    assert is_known(date(2023, 3, 31), LAST, whole, given) and not is_known(date(2023, 3, 30), LAST, whole, given)
    assert is_known(date(2024, 1, 30), LAST, broken, given) and not is_known(date(2024, 1, 29), LAST, broken, given)
    contracts = given.model_copy(update={"churn": given.churn.model_copy(update={"mode": "subscription"})})
    assert is_known(FIRST, LAST, broken, contracts)


def test_months_quarters_and_years_by_segment_add_up_to_everybody(engine: Engine) -> None:
    """Each against the always-on figures of everybody, which are counted from spells."""
    here = segmented(engine, {"lines": random_lines(3)}, [])
    ends = month_ends(LAST)
    assert ends[0] == date(2022, 6, 30) and ends[-1] == LAST and month_ends(date(2024, 7, 30)) == ends
    kinds = ["rfm", "price", "tenure"]
    found = by_calendar({day: here.at(day) for day in ends if day >= date(2023, 3, 31)}, kinds, trusted=FIRST)
    figures = pd.concat([one.figures for one in found])
    every = always_on(engine, here.activity, YEAR_AND_A_HALF, 90, trusted=FIRST).figures.set_index(
        ["period_kind", "period_end"]
    )
    assert figures.drop_duplicates(["period_kind", "period_end"])["period_kind"].value_counts().to_dict() == {
        "month": 15,
        "quarter": 5,
    }
    counts = ["customers_at_start", "new_customers", "reactivated", "lapsed", "new_gone", "retained", "customers_at_end"]
    for (_, kind, end), rows in figures.groupby(["segmented_by", "period_kind", "period_end"]):
        assert rows[counts].sum().to_dict() == every.loc[(kind, end), counts].to_dict()


def random_lines(seed: int) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    return [line for n in range(40) for line in orders(
        f"c{n:02}", sorted({dice.randint(-20, 540) for _ in range(dice.randint(1, 9))}, reverse=True), dice.randint(1, 90))]  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_segments_add_up_to_the_retention_rate_of_everybody(engine: Engine, seed: int) -> None:
    here = segmented(engine, {"lines": random_lines(seed)}, [])
    start = LAST - timedelta(days=60)
    kinds = [kind for kind in KINDS if kind != "best_by_reviews"]
    found = moved_between({LAST: (here.at(start), here.at(LAST))}, kinds, kind=Kind(trailing_days=60), trusted=FIRST)
    every = always_on(engine, here.activity, YEAR_AND_A_HALF, 90, trailing_days=[60], trusted=FIRST).figures
    (total,) = every[(every["period_kind"] == "trailing_60") & (every["period_end"] == LAST)].to_dict("records")
    counts = ("customers_at_start", "new_customers", "reactivated", "lapsed", "new_gone", "retained", "customers_at_end")
    for kind in (ALL, *kinds):
        rows = found.figures[found.figures["segmented_by"] == kind]
        assert {name: int(rows[name].sum()) for name in counts} == {name: int(total[name]) for name in counts}, kind
    for kind in kinds:
        moved = found.moves[found.moves["segmented_by"] == kind]
        assert int(moved["customers"].sum()) == total["customers_at_start"]
        assert int(moved.loc[moved["end_segment"] != GONE, "customers"].sum()) == total["retained"]


def test_what_comes_after_the_day_moves_nothing(engine: Engine, tmp_path: Path) -> None:
    rows = shop.raw_rows(4)
    moments = {"lines": "ordered_at", "events": "occurred_at", "feedback": "rated_at", "subscriptions": "started_date",
               "contacts": "contacted_at"}  # fmt: skip
    cut = {name: [row for row in table if name not in moments or str(row[moments[name]])[:10] <= str(shop.AS_OF)]
           for name, table in rows.items()}  # fmt: skip
    costs = {
        "retention_report": {
            "period_days": 400,
            "cost_to_serve": {"per_order": 2, "per_contact": 1, "per_event": {"opened": 3}},
        }
    }
    tables = []
    for name, given in (("whole", rows), ("cut", cut)):
        (tmp_path / name).mkdir()
        told = shop.told(engine, given, tmp_path / name, [f"c{n:02}" for n in range(5)])
        found = report(engine, told.activity, told.profile, shop.settings(**costs), told.scores, told.validated)
        tables.append((found.customers, found.segments, found.retention, found.moves))
    assert sum(map(len, rows.values())) > sum(map(len, cut.values()))
    for whole, part in zip(*tables, strict=True):
        pd.testing.assert_frame_equal(whole, part)
