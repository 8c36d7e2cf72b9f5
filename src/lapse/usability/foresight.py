"""Checks for customer attributes that know the future: computed from the whole history, or after the outcome."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date

from lapse.core.tables import CUSTOMERS
from lapse.core.windows import ChurnWindows
from lapse.history.reading.expressions import quoted
from lapse.labels import ChurnCount, churn_labels
from lapse.snapshots import population
from lapse.usability.definitions import TriedDefinition
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.findings import Finding, present, share_of

# An attribute of a person (age, town, income) that ranks churners this much better than their own last order does was not
# known at the cutoff. The margin is twice the usual standard error at a few hundred customers.
MARGIN_OVER_RECENCY = 0.05
# Below this nothing is suspicious, however poor recency is.
SUSPICIOUS_AUROC = 0.75
# Nearly perfect is suspicious, however good recency is.
PERFECT_AUROC = 0.95
# An attribute that follows the spend of the whole log this closely, and the spend up to the first cutoff much less (with
# more than twice the part left unexplained), was computed from the whole log.
FOLLOWS = 0.9
# One date in a hundred after the cutoff may be a typing error or a contract's end.
DATES_AFTER = 0.01
PARSES = 0.95
CUSTOMERS_TO_JUDGE, OF_EACH_TO_JUDGE = 100, 20
# Groups smaller than this are pooled, and rates are shrunk towards the base rate by as many customers.
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
    """A customer attribute: its column, and the SQL that turns its text into a value with an order (None for text)."""

    name: str
    kind: str
    ordered: str | None


def check_foresight(delivery: CheckedDelivery, current: TriedDefinition) -> list[Finding]:
    """Find the customer attributes that know more than the cutoffs of the current definition allow: one finding each."""
    if not delivery.has("customers"):
        return []
    found: list[Finding | None] = []
    attributes = _attributes(delivery)
    if not current.cutoffs:
        return present(telling_name(delivery, attribute) for attribute in attributes)
    first, last = current.cutoffs[0].cutoff_date, current.cutoffs[-1].cutoff_date
    has_labels = _hold_labels(delivery, current.cutoffs[-1], current.windows)
    for attribute in attributes:
        finding = dates_after(delivery, attribute, last)
        if has_labels:
            finding = finding or predicts(delivery, attribute, last) or follows_whole_log(delivery, attribute, first)
        found.append(finding or telling_name(delivery, attribute))
    return present(found)


def _attributes(delivery: CheckedDelivery) -> list[Attribute]:
    described = delivery.rows("DESCRIBE checked_customers")
    names = [str(row[0]) for row in described if row[0] not in CUSTOMERS.names]
    if "segment" in delivery.profile.columns.get("customers", []):
        names.append("segment")
    attributes = []
    for name in names:
        text = f"c.{quoted(name)}"
        filled, numbers, dates = delivery.row(
            f"SELECT count({text}), count(try_cast({text} AS DOUBLE)), count(try_cast({text} AS TIMESTAMP)) "
            "FROM checked_customers c"
        )
        if filled:
            kind = "number" if numbers >= PARSES * filled else "date" if dates >= PARSES * filled else "text"
            cast = {"number": f"try_cast({text} AS DOUBLE)", "date": f"epoch(try_cast({text} AS TIMESTAMP))"}
            attributes.append(Attribute(name, kind, cast.get(kind)))
    return attributes


def _hold_labels(delivery: CheckedDelivery, cutoff: ChurnCount, windows: ChurnWindows) -> bool:
    """Hold the labels of a cutoff as the table checked_labels; return False where they are too few to tell anything."""
    if cutoff.eligible < CUSTOMERS_TO_JUDGE or cutoff.smaller_class < OF_EACH_TO_JUDGE:
        return False
    day, period = cutoff.cutoff_date, delivery.period
    eligible = population(delivery.activity, day, windows, period)
    labels = churn_labels(eligible, delivery.activity, day, windows, period.last_complete_day)
    delivery.engine.materialize(labels, "checked_outcomes")
    delivery.engine.connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE checked_labels AS
        WITH last_days AS (SELECT customer_id, max(bought_on) AS last_day FROM checked_spans
                           WHERE bought_on <= DATE '{day}' GROUP BY 1)
        SELECT customer_id, DATE '{day}' - last_day AS since, churned = 1 AS churned,
               row_number() OVER (ORDER BY md5(customer_id), customer_id) % 2 AS half
        FROM checked_outcomes JOIN last_days USING (customer_id)
    """)
    return True


def dates_after(delivery: CheckedDelivery, attribute: Attribute, cutoff: date) -> Finding | None:
    """Find an attribute whose values are dates after the last mature cutoff."""
    if attribute.kind != "date":
        return None
    after, filled, keys = delivery.row(
        f"SELECT count(*) FILTER (v > epoch(DATE '{cutoff}' + 1) - 1), count(v), (list(customer_id ORDER BY customer_id) "
        f"FILTER (v > epoch(DATE '{cutoff}' + 1) - 1))[:3] FROM (SELECT customer_id, {attribute.ordered} AS v "
        "FROM checked_customers c)"
    )
    if after <= DATES_AFTER * filled:
        return None
    return Finding(
        "warning", "knows_the_future", "customers", attribute.name, int(after),
        f"{after:,} of {filled:,} values ({share_of(after, filled)}) are dates after the last cutoff whose outcome is known "
        f"({cutoff}): nobody could have known them on that day.",
        REMEDY, tuple(keys or ()),
    )  # fmt: skip


def predicts(delivery: CheckedDelivery, attribute: Attribute, cutoff: date) -> Finding | None:
    """Find an attribute that ranks the churners of the labelled cutoff better than their last order does."""
    text = f"c.{quoted(attribute.name)}"
    recency = _auroc(delivery, "SELECT since AS v, churned FROM checked_labels")
    labelled = "FROM checked_labels l LEFT JOIN checked_customers c USING (customer_id)"
    if attribute.ordered:
        bucket = (f"CASE WHEN {attribute.ordered} IS NULL THEN '' ELSE floor(10 * percent_rank() OVER (PARTITION BY "
                  f"{attribute.ordered} IS NULL ORDER BY {attribute.ordered}))::VARCHAR END")  # fmt: skip
    else:
        bucket = f"coalesce({text}, '')"
    # Each half of the customers is predicted by the churn rates of the other half: no group predicts itself.
    found = _auroc(delivery, f"""
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
        ranked = _auroc(delivery, f"SELECT {attribute.ordered} AS v, churned {labelled}")
        found = max(found, ranked, 1 - ranked)
    if found < PERFECT_AUROC and found < max(recency + MARGIN_OVER_RECENCY, SUSPICIOUS_AUROC):
        return None
    filled = delivery.row(f"SELECT count({text}) FROM checked_customers c")[0]
    return Finding(
        "warning", "knows_the_future", "customers", attribute.name, int(filled),
        f"It ranks the churners of cutoff {cutoff} with an AUROC of {found:.2f}; days_since_last_order reaches "
        f"{recency:.2f}. An attribute of a customer does not do that unless it was recorded after the outcome.",
        REMEDY,
    )  # fmt: skip


def follows_whole_log(delivery: CheckedDelivery, attribute: Attribute, cutoff: date) -> Finding | None:
    """Find a numeric attribute that was computed from what came after the first mature cutoff."""
    if attribute.kind != "number":
        return None
    measures = {"net spend": "sum(net_spend)", "purchase days": "count(*) FILTER (orders > 0)"}
    for meaning, measure in measures.items():
        if meaning == "net spend" and not delivery.has("amount"):
            continue
        before = measure.replace("sum(net_spend)", "sum(net_spend) FILTER (d)").replace("orders > 0", "orders > 0 AND d")
        whole, known = delivery.row(f"""
            WITH totals AS (SELECT customer_id, {measure} AS whole, {before} AS known FROM (
                SELECT *, activity_date <= DATE '{cutoff}' AS d FROM checked_days) GROUP BY 1),
            ranked AS (SELECT rank() OVER (ORDER BY v) AS v, rank() OVER (ORDER BY whole) AS whole,
                rank() OVER (ORDER BY known) AS known FROM (SELECT {attribute.ordered} AS v, t.* FROM totals t
                JOIN checked_customers c USING (customer_id)) WHERE v IS NOT NULL AND known IS NOT NULL)
            SELECT round(corr(v, whole), 9), round(corr(v, known), 9) FROM ranked
        """)
        whole, known = abs(_number(whole)), abs(_number(known))
        if whole >= FOLLOWS and 1 - whole < (1 - known) / 2:
            filled = delivery.row(f"SELECT count({attribute.ordered}) FROM checked_customers c")[0]
            return Finding(
                "warning", "knows_the_future", "customers", attribute.name, int(filled),
                f"It follows each customer's {meaning} over the whole log (rank correlation {whole:.2f}) more closely than "
                f"up to {cutoff} ({known:.2f}): it was computed from what came later.", REMEDY,
            )  # fmt: skip
    return None


def telling_name(delivery: CheckedDelivery, attribute: Attribute) -> Finding | None:
    """Find an attribute whose name suggests that it was computed from what customers did later."""
    if not TELLING_NAME.search(attribute.name):
        return None
    filled = delivery.row(f"SELECT count({quoted(attribute.name)}) FROM checked_customers")[0]
    return Finding(
        "note", "telling_name", "customers", attribute.name, int(filled),
        "Judging by its name, it may have been computed from all that customers did, including after a cutoff; the data "
        "alone cannot show it.",
        "Find out when it was computed. If that was after the first cutoff, leave it out of sources.customers.attributes.",
    )  # fmt: skip


def _auroc(delivery: CheckedDelivery, valued: str) -> float:
    """Return the chance that a churner's v is above a stayer's, given SQL for rows of (v, churned); ties count half."""
    ranks, churners, stayers = delivery.row(f"""
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
