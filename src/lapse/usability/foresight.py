"""Checks for customer attributes that know the future: computed from the whole history, or after the outcome."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date

from lapse.core.tables import CUSTOMERS
from lapse.core.windows import ChurnWindows
from lapse.history.reading.expressions import quoted
from lapse.usability.findings import Delivered, Finding, kept, share_of
from lapse.usability.proposals import Tried

# A property of a person (age, town, income) that tells churners better than their own last order does by this much
# has not been known at the cutoff. The margin is twice the usual standard error at a few hundred customers.
MARGIN_OVER_RECENCY = 0.05
# And below this nothing is suspicious, however poor recency is.
SUSPICIOUS_AUROC = 0.75
# Nearly perfect is suspicious, however good recency is.
PERFECT_AUROC = 0.95
# An attribute that follows the spend of the whole log this closely, and that up to the first cutoff much less (less
# than half as closely, by the part left unexplained), was computed from the whole log.
FOLLOWS = 0.9
# One date in a hundred after the cutoff may be a typing error or a contract's end.
DATES_AFTER = 0.01
PARSES = 0.95
CUSTOMERS_TO_JUDGE, OF_EACH_TO_JUDGE = 100, 20
# Groups smaller than this are pooled, and rates are drawn to the base rate by as many customers.
GROUP = 20
TELLING_NAME = re.compile(
    r"clv|cltv|ltv|lifetime|churn|cancel|attrition|lapsed|inactiv|is_active|last_?(order|purchase|seen|visit)|"
    r"(order|purchase)_?(count|total)|total_?(spen|orders|purchase)|left_(on|at|date)",
    re.IGNORECASE,
)
REMEDY = ("Leave it out of sources.customers.attributes, or deliver it as it was known on that day: a model that reads it "
          "looks perfect in tests and fails in use.")  # fmt: skip


@dataclass(frozen=True)
class Attribute:
    """One customer attribute: its column, and the SQL that turns its text into something with an order (or None)."""

    name: str
    kind: str
    ordered: str | None


def check_foresight(delivered: Delivered, set_now: Tried) -> list[Finding]:
    """Return one finding per attribute that knows more than its cutoff allows."""
    if not delivered.has("customers"):
        return []
    found: list[Finding | None] = []
    attributes = _attributes(delivered)
    if not set_now.cutoffs:
        return kept(telling_name(delivered, attribute) for attribute in attributes)
    first, last = set_now.cutoffs[0].cutoff_date, set_now.cutoffs[-1].cutoff_date
    evaluation_model = _label(delivered, last, set_now.windows)
    for attribute in attributes:
        finding = dates_after(delivered, attribute, last)
        if evaluation_model:
            finding = finding or predicts(delivered, attribute, last) or follows_whole_log(delivered, attribute, first)
        found.append(finding or telling_name(delivered, attribute))
    return kept(found)


def _attributes(delivered: Delivered) -> list[Attribute]:
    described = delivered.rows("DESCRIBE checked_customers")
    names = [str(row[0]) for row in described if row[0] not in CUSTOMERS.names]
    if "segment" in delivered.profile.columns.get("customers", []):
        names.append("segment")
    attributes = []
    for name in names:
        text = f"c.{quoted(name)}"
        filled, numbers, dates = delivered.row(
            f"SELECT count({text}), count(try_cast({text} AS DOUBLE)), count(try_cast({text} AS TIMESTAMP)) "
            "FROM checked_customers c"
        )
        if filled:
            kind = "number" if numbers >= PARSES * filled else "date" if dates >= PARSES * filled else "text"
            cast = {"number": f"try_cast({text} AS DOUBLE)", "date": f"epoch(try_cast({text} AS TIMESTAMP))"}
            attributes.append(Attribute(name, kind, cast.get(kind)))
    return attributes


def _label(delivered: Delivered, cutoff: date, windows: ChurnWindows) -> bool:
    """Fill table checked_labels with the eligible customers of a cutoff; return whether they are enough."""
    active, outcome = windows.active(cutoff), windows.outcome(cutoff)
    delivered.engine.connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE checked_labels AS
        WITH last_days AS (
            SELECT customer_id, DATE '{cutoff}' - max(bought_on) FILTER (bought_on <= DATE '{cutoff}') AS since,
                   count(*) FILTER (bought_on > DATE '{outcome.start}' AND bought_on <= DATE '{outcome.end}') = 0 AS churned
            FROM checked_spans GROUP BY 1)
        SELECT customer_id, since, churned, row_number() OVER (ORDER BY md5(customer_id), customer_id) % 2 AS half
        FROM last_days WHERE since < {active.days}
    """)
    eligible, churned = delivered.row("SELECT count(*), count(*) FILTER (churned) FROM checked_labels")
    return bool(eligible >= CUSTOMERS_TO_JUDGE and min(churned, eligible - churned) >= OF_EACH_TO_JUDGE)


def dates_after(delivered: Delivered, attribute: Attribute, cutoff: date) -> Finding | None:
    """Return a warning when an attribute's values are dates after the last mature cutoff."""
    if attribute.kind != "date":
        return None
    after, filled, keys = delivered.row(
        f"SELECT count(*) FILTER (v > epoch(DATE '{cutoff}' + 1) - 1), count(v), (list(customer_id ORDER BY customer_id) "
        f"FILTER (v > epoch(DATE '{cutoff}' + 1) - 1))[:3] FROM (SELECT customer_id, {attribute.ordered} AS v "
        "FROM checked_customers c)"
    )
    if after <= DATES_AFTER * filled:
        return None
    return Finding(
        "warning", "knows_the_future", "customers", attribute.name, int(after),
        f"{after:,} of {filled:,} values ({share_of(after, filled)}) are dates after the last cutoff whose outcome is known "
        f"({cutoff}): on that day nobody could know them.",
        REMEDY, tuple(keys or ()),
    )  # fmt: skip


def predicts(delivered: Delivered, attribute: Attribute, cutoff: date) -> Finding | None:
    """Return a warning when an attribute tells churners better than the last order does."""
    text = f"c.{quoted(attribute.name)}"
    recency = _auroc(delivered, "SELECT since AS v, churned FROM checked_labels")
    labelled = "FROM checked_labels l LEFT JOIN checked_customers c USING (customer_id)"
    if attribute.ordered:
        bucket = (f"CASE WHEN {attribute.ordered} IS NULL THEN '' ELSE floor(10 * percent_rank() OVER (PARTITION BY "
                  f"{attribute.ordered} IS NULL ORDER BY {attribute.ordered}))::VARCHAR END")  # fmt: skip
    else:
        bucket = f"coalesce({text}, '')"
    # Each half of the customers is predicted by the churn rates of the other half: no group predicts itself.
    found = _auroc(delivered, f"""
        WITH grouped AS (SELECT churned, half, {bucket} AS label_of {labelled}),
        pooled AS (SELECT churned, half, CASE WHEN count(*) OVER (PARTITION BY label_of) < {GROUP} THEN '(rare)'
                   ELSE label_of END AS label_of FROM grouped),
        base AS (SELECT count(*) FILTER (churned) / count(*) AS rate FROM pooled),
        rates AS (SELECT half, label_of, (count(*) FILTER (churned) + {GROUP} * any_value(base.rate)) / (count(*) + {GROUP})
                  AS rate FROM pooled, base GROUP BY 1, 2)
        SELECT round(coalesce(r.rate, base.rate), 9) AS v, p.churned FROM pooled p CROSS JOIN base
        LEFT JOIN rates r ON r.label_of = p.label_of AND r.half <> p.half
    """)  # fmt: skip
    if attribute.ordered:
        ranked = _auroc(delivered, f"SELECT {attribute.ordered} AS v, churned {labelled}")
        found = max(found, ranked, 1 - ranked)
    if found < PERFECT_AUROC and found < max(recency + MARGIN_OVER_RECENCY, SUSPICIOUS_AUROC):
        return None
    filled = delivered.row(f"SELECT count({text}) FROM checked_customers c")[0]
    return Finding(
        "warning", "knows_the_future", "customers", attribute.name, int(filled),
        f"It tells the churners of cutoff {cutoff} with AUROC {found:.2f}; days_since_last_order reaches {recency:.2f}. "
        "A property of a customer does not do that unless it was written down after the outcome.",
        REMEDY,
    )  # fmt: skip


def follows_whole_log(delivered: Delivered, attribute: Attribute, cutoff: date) -> Finding | None:
    """Return a warning when a numeric attribute was computed from the log's future."""
    if attribute.kind != "number":
        return None
    measures = {"net spend": "sum(net_spend)", "purchase days": "count(*) FILTER (orders > 0)"}
    for meaning, measure in measures.items():
        if meaning == "net spend" and not delivered.has("amount"):
            continue
        before = measure.replace("sum(net_spend)", "sum(net_spend) FILTER (d)").replace("orders > 0", "orders > 0 AND d")
        whole, known = delivered.row(f"""
            WITH totals AS (SELECT customer_id, {measure} AS whole, {before} AS known FROM (
                SELECT *, activity_date <= DATE '{cutoff}' AS d FROM checked_days) GROUP BY 1),
            ranked AS (SELECT rank() OVER (ORDER BY v) AS v, rank() OVER (ORDER BY whole) AS whole,
                rank() OVER (ORDER BY known) AS known FROM (SELECT {attribute.ordered} AS v, t.* FROM totals t
                JOIN checked_customers c USING (customer_id)) WHERE v IS NOT NULL AND known IS NOT NULL)
            SELECT round(corr(v, whole), 9), round(corr(v, known), 9) FROM ranked
        """)
        whole, known = abs(_number(whole)), abs(_number(known))
        if whole >= FOLLOWS and 1 - whole < (1 - known) / 2:
            filled = delivered.row(f"SELECT count({attribute.ordered}) FROM checked_customers c")[0]
            return Finding(
                "warning", "knows_the_future", "customers", attribute.name, int(filled),
                f"It follows each customer's {meaning} of the whole log (rank correlation {whole:.2f}), and that up to "
                f"{cutoff} less ({known:.2f}): it was computed from what came after.", REMEDY,
            )  # fmt: skip
    return None


def telling_name(delivered: Delivered, attribute: Attribute) -> Finding | None:
    """Return a note when an attribute's name says that it may be computed from what customers did later."""
    if not TELLING_NAME.search(attribute.name):
        return None
    filled = delivered.row(f"SELECT count({quoted(attribute.name)}) FROM checked_customers")[0]
    return Finding(
        "note", "telling_name", "customers", attribute.name, int(filled),
        "By its name it may be computed from all that customers did, also after a cutoff; the data alone do not show it.",
        "Find out when it was computed. If that was after the first cutoff, leave it out of sources.customers.attributes.",
    )  # fmt: skip


def _auroc(delivered: Delivered, valued: str) -> float:
    """Return the chance that a churner's v is above a stayer's, of SQL for rows of (v, churned); ties count half."""
    ranks, churners, stayers = delivered.row(f"""
        WITH grouped AS (SELECT v, count(*) AS n, count(*) FILTER (churned) AS k FROM ({valued})
                         WHERE v IS NOT NULL GROUP BY 1),
        ranked AS (SELECT n, k, 2 * sum(n) OVER (ORDER BY v) - n + 1 AS twice_rank FROM grouped)
        SELECT coalesce(sum(k * twice_rank), 0)::HUGEINT, coalesce(sum(k), 0), coalesce(sum(n - k), 0) FROM ranked
    """)
    if not churners or not stayers:
        return 0.5
    return float((int(ranks) - int(churners) * (int(churners) + 1)) / (2 * int(churners) * int(stayers)))


def _number(value: float | None) -> float:
    return 0.0 if value is None or math.isnan(value) else float(value)
