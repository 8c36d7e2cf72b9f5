"""Net and gross revenue retention: what customers of a year ago bring now, of what they brought then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from lapse.core.engine import Engine
from lapse.core.tables.retention import REVENUE_RETENTION
from lapse.core.windows import YEAR_DAYS, Period, Window
from lapse.snapshots import in_window


def revenue_retention(engine: Engine, purchase_days: ir.Table, period: Period) -> pd.DataFrame:
    """Return net and gross revenue retention (tables.REVENUE_RETENTION) of the last two years before the last complete day.

    No row without two whole years of log, over a gap in it, or without money. The base is who spent more than they returned
    in the first year: so new customers, and those who were away in it, are in neither.
    """
    end = period.last_complete_day
    now = Window(end - timedelta(days=YEAR_DAYS), end)
    then = Window(now.start - timedelta(days=YEAR_DAYS), now.start)
    empty = pd.DataFrame(columns=list(REVENUE_RETENTION.names))
    if then.first_day < period.first_day or period.has_gap_in(Window(then.start, now.end)):
        return empty
    days: Any = purchase_days
    each = days.group_by("customer_id").aggregate(
        base=days.net_spend.sum(where=in_window(days, then)), now=days.net_spend.sum(where=in_window(days, now)).coalesce(0)
    )
    each = each.filter(each.base > 0)
    kept = ibis.greatest(each.now, 0)
    total = each.aggregate(
        base_customers=each.count(), base_spend=each.base.sum(), spend_now=each.now.sum(),
        spend_kept=ibis.least(each.base, kept).sum(),
    )  # fmt: skip
    row = engine.frame(total).iloc[0]
    if not row["base_customers"]:
        return empty
    base, spend, held = (float(row[name]) for name in ("base_spend", "spend_now", "spend_kept"))
    return pd.DataFrame([{
        "base_start": then.first_day, "base_end": then.end, "period_start": now.first_day, "period_end": now.end,
        "base_customers": int(row["base_customers"]), "base_spend": base, "spend_now": spend, "spend_kept": held,
        "nrr": spend / base * 100, "grr": held / base * 100,
    }])  # fmt: skip
