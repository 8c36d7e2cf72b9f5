"""What `lapse explain` says: the reasons that the scores hold, or, where they hold none, those computed anew."""

from __future__ import annotations

from datetime import date
from typing import Any

import ibis
import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.errors import DataError
from lapse.scoring.explain import customer_text
from lapse.scoring.reasons import Explanation, Reason

DAYS = ibis.memtable(pd.DataFrame({
    "customer_id": ["ann", "ann", "bob"], "activity_date": [date(2024, 1, 1), date(2024, 1, 8), date(2024, 1, 9)], "orders": [1, 2, 1],
    "net_spend": [5.0, 7.5, 1.0], "return_lines": [0, 1, 0], "gap_days": pd.array([None, 7, None], dtype="Int64"),
}))  # fmt: skip
SCORES = pd.DataFrame({
    "customer_id": ["ann", "bob"], "cutoff_date": date(2024, 2, 1), "churn_risk": [0.6, 0.05], "risk_band": ["high", "low"],
    "expected_margin": [50.0, None], "value_at_stake": [30.0, None], "expected_profit": [-1.25, None], "model_version": "abc",
    "consent": ["given", "withdrawn"], "may_contact": [True, False], "stale_tables": [None, "events"], **{name: [None, None] for name in ("reason_2", "reason_3", "protective_2")},
    "reason_1": ["last ordered 24 days ago", None], "protective_1": ["spent 12 in the last 30 days", None],
})  # fmt: skip


def nothing(_: Any) -> Explanation:
    return Explanation()


def test_what_raises_the_risk_and_what_speaks_against_it(engine: Engine) -> None:
    def never(_: Any) -> Explanation:
        raise AssertionError("the scores hold the reasons")

    text = customer_text(engine, DAYS, SCORES, "ann", never)
    assert "Churn risk 60.0% (high) as of 2024-02-01, number 1 of 2" in text
    assert "because: last ordered 24 days ago\n  against it: spent 12 in the last 30 days\n" in text
    assert "\n  expected margin if kept 50.00, value at stake 30.00; contacting earns -1.25\n" in text
    assert "History: 3 orders on 2 days, 2024-01-01 to 2024-01-08" in text


def test_a_customer_of_low_risk_is_explained_anew(engine: Engine) -> None:
    asked = []

    def anew(scored: Any) -> Explanation:
        asked.append(scored["customer_id"])
        return Explanation((), (Reason("silence", ["last ordered {0:ago}", "0"], "days_since_last_order"),))

    text = customer_text(engine, DAYS, SCORES, "bob", anew)
    assert asked == ["bob"] and "nothing about this customer raises the risk\n  against it: last ordered today" in text
    assert "nothing about this customer raises the risk" in customer_text(engine, DAYS, SCORES, "bob", nothing)


def test_who_may_not_be_contacted_and_of_what_nothing_is_said(engine: Engine) -> None:
    text = customer_text(engine, DAYS, SCORES, "bob", nothing)
    assert "may not be contacted: withdrew (an event of consent.withdrawn_by)" in text
    assert "no reason speaks of events: stale when the scores were made" in text
    assert "contacted" not in customer_text(engine, DAYS, SCORES, "ann", nothing)


def test_a_risk_without_words_is_not_denied(engine: Engine) -> None:
    wordless = SCORES.assign(reason_1=None)
    assert "because: what raises the risk is not a usual sign of leaving" in customer_text(
        engine, DAYS, wordless, "ann", nothing
    )


def test_a_customer_without_money_has_no_value(engine: Engine) -> None:
    assert "value at stake" not in customer_text(engine, DAYS, SCORES, "bob", nothing)


def test_an_unknown_id_is_named(engine: Engine) -> None:
    with pytest.raises(DataError, match="'eve' is in the log"):
        customer_text(engine, DAYS, SCORES, "eve", nothing)
