"""The page says what the tables hold, in words, and shows whatever stands in the data as text."""

from __future__ import annotations

import random
import re
from datetime import date, timedelta
from html import unescape
from typing import Any

import pandas as pd

from lapse.core.engine import Engine
from lapse.core.retention_settings import Retention
from lapse.core.windows import Period
from lapse.retention.page import alert_text, retention_page, second_order_text, trend_of
from lapse.retention.stage import measure
from tests.conftest import log_of, roll_up

FIRST, LAST = date(2024, 1, 1), date(2024, 12, 31)
YEAR = Period(FIRST, LAST, LAST)
ODD = "<script>alert(1)</script>"


def page_of(engine: Engine, lines: list[Any], customers: list[Any], **settings: Any) -> str:
    section = Retention.model_validate({"active_days": 30, **settings})
    activity = roll_up(log_of(engine, lines, customers=customers))
    return retention_page(measure(engine, activity, YEAR, section, mode="lapse"), YEAR, section, "lapse", ["Beside it."])


def shop() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Forty customers who come every eighth day or so from some day of the first half of the year to some later day."""
    dice = random.Random(5)
    lines = []
    for number in range(40):
        day, until = dice.randrange(180), dice.randrange(200, 366)
        while day < until:
            lines.append({"customer_id": f"c{number}", "ordered_at": str(FIRST + timedelta(days=day)), "amount": 5})
            day += dice.randrange(3, 14)
    customers = [
        {"customer_id": f"c{number}", "region": ODD if number % 2 else "north", "valid_from": "2024-01-01"}
        for number in range(40)
    ]
    return lines, customers


def test_the_page_says_who_stays_and_loads_nothing(engine: Engine) -> None:
    page = page_of(engine, *shop(), by=["region"], target_crr=95)
    assert ODD not in page and "&lt;script&gt;" in page
    assert not re.search(r"https?:|<script|<link|@import|url\(|src=", page)
    text = unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S)))
    assert re.search(r"Of the \d+ customers who were active before 2024-12-01, [\d.]+% still were on 2024-12-31", text)
    assert re.search(r"The CRR of the last whole month is [\d.]+ points (below|above) your target of 95%", text)
    assert "By region, 2024-12" in text and "Of new customers, " in text and "had ordered a second time" in text
    assert "Beside it." in text and "(gone)" not in text
    assert page == page_of(engine, *shop(), by=["region"], target_crr=95), "the same bytes"


def test_an_empty_log_is_said_and_draws_nothing(engine: Engine) -> None:
    text = page_of(engine, [{"customer_id": "a", "ordered_at": "2024-12-30", "amount": 5}], [])
    assert "<svg" not in text and "nan" not in text.replace("&nbsp;", "").lower().replace("maintenance", "")


def test_ages_before_anybody_ordered_again_are_not_said() -> None:
    curve = pd.DataFrame(
        {"days": [45, 50], "at_risk": [20, 10], "share": [10.0, 25.0], "low": [3.0, 9.0], "high": [30.0, 50.0]}
    )
    assert "20 new customers, 25.0% by day 50 (95%: 9.0 to 50.0)" in (second_order_text(curve) or "")
    assert second_order_text(curve.head(0)) is None


def test_an_alert_is_a_sentence(engine: Engine) -> None:
    row = {"segmented_by": "region", "segment": "north", "period_kind": "month", "period_start": date(2024, 3, 1),
           "period_end": date(2024, 3, 31), "alert": "fell", "customers": 1200, "crr": 80.0, "strict_retention": 71.2,
           "usual_strict": 80.4, "standard_errors": 4.1}  # fmt: skip
    assert alert_text(row) == ("The month from 2024-03-01 to 2024-03-31 of region north: 71.2% of 1,200 customers stayed, where "
                               "80.4% was usual: 4.1 standard errors less.")  # fmt: skip
    assert alert_text(row | {"segmented_by": "all", "alert": "below_floor", "crr": 12.0}).endswith(
        "31: a CRR of 12.0% lies below the floor (retention.warn_below)."
    )
    figures = measure(engine, roll_up(log_of(engine, *shop()[:1])), YEAR, Retention(active_days=30), mode="lapse")
    assert trend_of(figures.always_on.figures, []) is None
