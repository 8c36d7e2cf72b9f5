"""Checks for columns that know the future: computed from the whole history, or after the outcome.

An attribute of a customer is looked at as it is; a column of the orders, joined ones included, as it stands on the last
day with a line up to the cutoff.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import date

from lapse.core.tables.sources import CUSTOMERS, TRANSACTIONS
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
# What was ordered is behaviour, and may tell more than its day: it is held against how often and how late, too.
MARGIN_OF_ORDERS = 0.1
KNOWN_OF_ORDERS = ("since", "bought_days", "since * bought_days / tenure")
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

REMEDY_OF_ORDERS = ("Map another column, or deliver it as it was on the day of the order: `lapse leakage` shows what it "
                    "moves where the file holds a day for it.")  # fmt: skip
LAST_LINES = "checked_last_lines"


@dataclass(frozen=True)
class Attribute:
    """A column of customers or orders, and the SQL that turns it into a value with an order (None for text)."""

    name: str
    kind: str
    ordered: str | None
    table: str = CUSTOMERS.name
    relation: str = "checked_customers"
    """Where its values are by customer."""

    @property
    def margin(self) -> float:
        """How much better than the last order's day it may rank churners."""
        return MARGIN_OF_ORDERS if self.table == TRANSACTIONS.name else MARGIN_OVER_RECENCY

    @property
    def remedy(self) -> str:
        """The next step where it knows the future."""
        return REMEDY_OF_ORDERS if self.table == TRANSACTIONS.name else REMEDY


def check_foresight(delivery: CheckedDelivery, current: TriedDefinition) -> list[Finding]:
    """Find the columns that know more than the cutoffs of the current definition allow: at most one finding each."""
    customers = delivery.has("customers")
    attributes = _attributes(delivery, _customer_columns(delivery), CUSTOMERS.name, "checked_customers") if customers else []
    if not current.cutoffs:
        return present(telling_name(delivery, attribute) for attribute in attributes)
    first, last = current.cutoffs[0].cutoff_date, current.cutoffs[-1].cutoff_date
    has_labels = _hold_labels(delivery, current.cutoffs[-1], current.windows)
    found: list[Finding | None] = []
    for attribute in attributes:
        finding = dates_after(delivery, attribute, last)
        if has_labels:
            finding = finding or predicts(delivery, attribute, last) or follows_whole_log(delivery, attribute, first)
        found.append(finding or telling_name(delivery, attribute))
    if has_labels:
        found += _orders_columns(delivery, first, last)
    return present(found)


def _orders_columns(delivery: CheckedDelivery, first: date, last: date) -> list[Finding | None]:
    """Look at every column of the order lines as it stood on each customer's last day with one."""
    names = [name for name in delivery.profile.columns["transactions"] if name not in ("customer_id", "ordered_at")]
    relations = {cutoff: _hold_last_lines(delivery, names, cutoff) for cutoff in (first, last)}
    found: list[Finding | None] = []
    for attribute in _attributes(delivery, names, TRANSACTIONS.name, relations[last]):
        at_first = replace(attribute, relation=relations[first])
        found.append(predicts(delivery, attribute, last) or follows_whole_log(delivery, at_first, first))
    return found


def _hold_last_lines(delivery: CheckedDelivery, names: list[str], cutoff: date) -> str:
    """Hold, per customer, the largest value of each column on their last day with a line up to a cutoff."""
    values = "".join(f", max({quoted(name)})::VARCHAR AS {quoted(name)}" for name in names)
    relation = f"{LAST_LINES}_{cutoff:%Y%m%d}"
    delivery.engine.connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {relation} AS
        WITH last_days AS (SELECT customer_id, max(order_date) AS order_date FROM checked_transactions
                           WHERE order_date <= DATE '{cutoff}' GROUP BY 1)
        SELECT customer_id{values} FROM checked_transactions JOIN last_days USING (customer_id, order_date) GROUP BY 1
    """)
    return relation


def _customer_columns(delivery: CheckedDelivery) -> list[str]:
    described = delivery.rows("DESCRIBE checked_customers")
    names = [str(row[0]) for row in described if row[0] not in CUSTOMERS.names]
    return [*names, *(["segment"] if "segment" in delivery.profile.columns.get("customers", []) else [])]


def _attributes(delivery: CheckedDelivery, names: list[str], table: str, relation: str) -> list[Attribute]:
    """Return the columns of a relation that hold anything, each with what kind of value it holds."""
    attributes = []
    for name in names:
        text = f"c.{quoted(name)}"
        filled, numbers, dates = delivery.row(
            f"SELECT count({text}), count(try_cast({text} AS DOUBLE)), count(try_cast({text} AS TIMESTAMP)) "
            f"FROM {relation} c"
        )
        if filled:
            kind = "number" if numbers >= PARSES * filled else "date" if dates >= PARSES * filled else "text"
            cast = {"number": f"try_cast({text} AS DOUBLE)", "date": f"epoch(try_cast({text} AS TIMESTAMP))"}
            attributes.append(Attribute(name, kind, cast.get(kind), table, relation))
    return attributes


def _hold_labels(delivery: CheckedDelivery, cutoff: ChurnCount, windows: ChurnWindows) -> bool:
    """Hold the labels of a cutoff as the table checked_labels; return False where they are too few to tell anything."""
    if cutoff.eligible < CUSTOMERS_TO_JUDGE or cutoff.smaller_class < OF_EACH_TO_JUDGE:
        return False
    day, period = cutoff.cutoff_date, delivery.period
    eligible = population(delivery.activity, day, windows, period)
    labels = churn_labels(eligible, delivery.activity, day, windows, period)
    delivery.engine.materialize(labels, "checked_outcomes")
    delivery.engine.connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE checked_labels AS
        WITH last_days AS (SELECT customer_id, max(bought_on) AS last_day, min(bought_on) AS first_day,
                                  count(*) AS bought_days FROM checked_spans WHERE bought_on <= DATE '{day}' GROUP BY 1)
        SELECT customer_id, DATE '{day}' - last_day AS since, churned = 1 AS churned, bought_days,
               DATE '{day}' - first_day + 1 AS tenure,
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
    """Find a column that ranks the churners of the labelled cutoff better than what their orders' days tell."""
    text, of_orders = f"c.{quoted(attribute.name)}", attribute.table == TRANSACTIONS.name
    labelled = "FROM checked_labels l"
    if of_orders:
        what, rival = "A column of the orders", "how lately and how often they ordered reaches"
        known = max(_foretells(delivery, labelled, one, one) for one in KNOWN_OF_ORDERS)
    else:
        what, rival = "An attribute of a customer", "days_since_last_order reaches"
        known = _auroc(delivery, f"SELECT since AS v, churned {labelled}")
    joined = f"{labelled} LEFT JOIN {attribute.relation} c USING (customer_id)"
    found = _foretells(delivery, joined, text, attribute.ordered)
    if found < PERFECT_AUROC and found < max(known + attribute.margin, SUSPICIOUS_AUROC):
        return None
    if of_orders and found <= known:
        return None
    filled = delivery.row(f"SELECT count({text}) FROM {attribute.relation} c")[0]
    return Finding(
        "warning", "knows_the_future", attribute.table, attribute.name, int(filled),
        f"It ranks the churners of cutoff {cutoff} with an AUROC of {found:.2f}; {rival} "
        f"{known:.2f}. {what} does not do that unless it was recorded after the outcome.",
        attribute.remedy,
    )  # fmt: skip


def _foretells(delivery: CheckedDelivery, labelled: str, text: str, ordered: str | None) -> float:
    """Return the AUROC that a value reaches by its order, where it has one, or by the churn rates of its groups."""
    bucket = f"coalesce({text}, '')"
    if ordered:
        bucket = (f"CASE WHEN {ordered} IS NULL THEN '' ELSE floor(10 * percent_rank() OVER (PARTITION BY "
                  f"{ordered} IS NULL ORDER BY {ordered}))::VARCHAR END")  # fmt: skip
    # Each half of the customers is predicted by the churn rates of the other half: no group predicts itself.
    by_group = _auroc(delivery, f"""
        WITH grouped AS (SELECT churned, half, {bucket} AS label_of {labelled}),
        pooled AS (SELECT churned, half, CASE WHEN count(*) OVER (PARTITION BY label_of) < {GROUP} THEN '(rare)'
                   ELSE label_of END AS label_of FROM grouped),
        base AS (SELECT count(*) FILTER (churned) / count(*) AS rate FROM pooled),
        rates AS (SELECT half, label_of, (count(*) FILTER (churned) + {GROUP} * any_value(base.rate)) / (count(*) + {GROUP})
                  AS rate FROM pooled, base GROUP BY 1, 2)
        SELECT round(coalesce(r.rate, base.rate), 9) AS v, p.churned FROM pooled p CROSS JOIN base
        LEFT JOIN rates r ON r.label_of = p.label_of AND r.half <> p.half
    """)  # fmt: skip
    if not ordered:
        return by_group
    ranked = _auroc(delivery, f"SELECT {ordered} AS v, churned {labelled}")
    return max(by_group, ranked, 1 - ranked)


def follows_whole_log(delivery: CheckedDelivery, attribute: Attribute, cutoff: date) -> Finding | None:
    """Find a numeric column that was computed from what came after the first mature cutoff."""
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
                JOIN {attribute.relation} c USING (customer_id)) WHERE v IS NOT NULL AND known IS NOT NULL)
            SELECT round(corr(v, whole), 9), round(corr(v, known), 9) FROM ranked
        """)
        whole, known = abs(_number(whole)), abs(_number(known))
        if whole >= FOLLOWS and 1 - whole < (1 - known) / 2:
            filled = delivery.row(f"SELECT count({attribute.ordered}) FROM {attribute.relation} c")[0]
            return Finding(
                "warning", "knows_the_future", attribute.table, attribute.name, int(filled),
                f"It follows each customer's {meaning} over the whole log (rank correlation {whole:.2f}) more closely than "
                f"up to {cutoff} ({known:.2f}): it was computed from what came later.", attribute.remedy,
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
