"""Checks of the rows that were delivered: rejects, duplicates, unknown ids, returns, outliers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lapse.core.tables.sources import SOURCES
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.findings import Finding, plural, present, share_of

if TYPE_CHECKING:
    from lapse.history.validation.counts import Count

# A twentieth of a table unreadable is more than typing errors: the mapping or the export is wrong.
MANY_REJECTS = 0.05
# With customer ids missing on a tenth of the lines, the purchases of the known customers are no longer seen whole.
MANY_WITHOUT_CUSTOMER = 0.10
# A twentieth of the events about people who never bought: different ids, or a different list of people.
MANY_UNKNOWN = 0.05
TOP_LINES = 10
# Ten lines of a log should not decide sums; at a twentieth of all spend they decide means, shares and CLV.
TOP_LINES_WARN = 0.05
# A hundredth is where a single mean order value begins to say more about a line than about customers.
TOP_LINES_NOTE = 0.01
# With fewer lines than this, ten of them are a fair share of the log.
LINES_TO_JUDGE_OUTLIERS = 1_000
NO_CUSTOMER = "customer_id is missing"
SIDE_TABLES = ("events", "feedback")


def check_rows(delivery: CheckedDelivery) -> list[Finding]:
    """Return what is wrong with single rows of a delivery."""
    if not delivery.has_orders:
        return present([*rejected(delivery.counts), *duplicates(delivery), *unknown_ids(delivery)])
    return present([
        *rejected(delivery.counts), *duplicates(delivery), *unknown_ids(delivery), only_returns(delivery),
        zero_value(delivery), outliers(delivery, "amount"), outliers(delivery, "quantity"), cancelled_outliers(delivery),
        *(outside_log(delivery, name) for name in SIDE_TABLES),
    ])  # fmt: skip


def rejected(counts: Mapping[str, Count]) -> list[Finding]:
    """Find the rows that were rejected: one finding per table and reason; a stop where too few rows are left."""
    found = []
    for table, count in counts.items():
        for reject in count.rejects:
            without = reject.reason.startswith(NO_CUSTOMER)
            limit = MANY_WITHOUT_CUSTOMER if without else MANY_REJECTS
            todo = (
                "Find out who they are (guests, counter sales?). Their purchases belong to nobody: known customers among "
                "them look less active than they are."
                if without
                else f"Look at them among the rejected rows (rejects.parquet), and correct the delivery or sources.{table}."
            )
            rows = count.rows_in + count.rows_added
            many = reject.rows > limit * rows
            found.append(Finding(
                "stop" if many and count.refusal else "warning" if many else "note",
                "without_customer" if without else "rejects", table, reject.column, reject.rows,
                f"{reject.rows:,} of {rows:,} rows ({share_of(reject.rows, rows)}) were rejected: "
                f"{reject.reason}.", reject.advice or todo, reject.values,
            ))  # fmt: skip
    return found


def duplicates(delivery: CheckedDelivery) -> list[Finding]:
    """Find the tables of which identical rows were dropped."""
    return [
        Finding(
            "warning" if count.rows_duplicate > MANY_REJECTS * count.rows_in else "note",
            "duplicates", table, None, count.rows_duplicate,
            f"{plural(count.rows_duplicate, 'row')} of {count.rows_in:,} ({share_of(count.rows_duplicate, count.rows_in)}) "
            "repeated another row in every delivered column and were dropped.",
            f"If a customer can do the same thing twice at the same moment, set sources.{table}.duplicates: keep.",
        )
        for table, count in delivery.counts.items() if count.rows_duplicate
    ]  # fmt: skip


def unknown_ids(delivery: CheckedDelivery) -> list[Finding]:
    """Find the ids of one table that are missing in another."""
    found = []
    for name in ("events", "feedback"):
        if delivery.has(name):
            found.append(_without_transactions(delivery, name))
    if delivery.has("customers") and delivery.has_orders:
        found += [_customers_in_no_transaction(delivery), _buyers_without_customer_row(delivery)]
    return present(found)


def _tables_of_customers(delivery: CheckedDelivery) -> list[str]:
    return ["transactions"] * delivery.has_orders + ["subscriptions"] * delivery.has("subscriptions")


def _who_can_be_lost(delivery: CheckedDelivery) -> str:
    """Return the query of everybody who ever ordered or held a subscription."""
    checked = {"transactions": "checked_days", "subscriptions": "checked_subscriptions"}
    return " UNION ".join(f"SELECT customer_id FROM {checked[name]}" for name in _tables_of_customers(delivery))


def _lack(delivery: CheckedDelivery) -> str:
    return " or ".join(name.removesuffix("s") for name in _tables_of_customers(delivery))


def _without_transactions(delivery: CheckedDelivery, name: str) -> Finding | None:
    rows, ids, keys, total = delivery.row(
        f"SELECT count(*), count(DISTINCT t.customer_id), (list(DISTINCT t.customer_id ORDER BY t.customer_id))[:3], "
        f"(SELECT count(*) FROM checked_{name}) FROM checked_{name} t "
        f"ANTI JOIN ({_who_can_be_lost(delivery)}) d ON t.customer_id = d.customer_id"
    )
    if not rows:
        return None
    return Finding(
        "warning" if rows > MANY_UNKNOWN * total else "note", "unknown_ids", name, "customer_id", int(rows),
        f"{rows:,} of {total:,} rows ({share_of(rows, total)}) belong to {plural(ids, 'customer')} "
        f"without any {_lack(delivery)}.",
        "Check that both tables use the same customer ids. If they do, these people were never customers, and their rows "
        "are not used.",
        tuple(keys or ()),
    )  # fmt: skip


def _customers_in_no_transaction(delivery: CheckedDelivery) -> Finding | None:
    missing, keys, total = delivery.row(
        "SELECT count(*), (list(c.customer_id ORDER BY c.customer_id))[:3], (SELECT count(*) FROM checked_customers) "
        f"FROM checked_customers c ANTI JOIN ({_who_can_be_lost(delivery)}) d ON c.customer_id = d.customer_id"
    )
    if not missing:
        return None
    return Finding(
        "warning" if missing == total else "note", "customers_without_transactions", "customers", "customer_id",
        int(missing),
        f"{missing:,} of {total:,} customers ({share_of(missing, total)}) have no {_lack(delivery)}.",
        "They are never scored. If they should have one, check that both tables use the same customer ids.",
        tuple(keys or ()),
    )  # fmt: skip


def _buyers_without_customer_row(delivery: CheckedDelivery) -> Finding | None:
    missing, total, keys = delivery.row(
        "WITH buyers AS (SELECT DISTINCT customer_id FROM checked_days) SELECT count(*), (SELECT count(*) FROM buyers), "
        "(list(b.customer_id ORDER BY b.customer_id))[:3] FROM buyers b "
        "ANTI JOIN checked_customers c ON b.customer_id = c.customer_id"
    )
    if not missing:
        return None
    return Finding(
        "warning" if missing > MANY_UNKNOWN * total else "note", "buyers_without_customer_row", "customers", "customer_id",
        int(missing), f"{missing:,} of {total:,} buyers ({share_of(missing, total)}) have no row in customers.",
        "They have no segment, attributes or consent. Deliver them, most of all when consent decides who may be contacted.",
        tuple(keys or ()),
    )  # fmt: skip


def only_returns(delivery: CheckedDelivery) -> Finding | None:
    """Find the customers who return and never order."""
    count, keys = delivery.row(
        "SELECT count(*), (list(customer_id ORDER BY customer_id))[:3] FROM (SELECT customer_id FROM checked_days "
        "GROUP BY 1 HAVING sum(orders) = 0 AND sum(return_lines) > 0)"
    )
    if not count:
        return None
    return Finding(
        "note", "only_returns", "transactions", "customer_id", int(count),
        f"{plural(count, 'customer')} only ever {'returns' if count == 1 else 'return'} and never "
        f"{'orders' if count == 1 else 'order'}: what they bought lies before the log or is missing.",
        "Nothing, if the log simply begins later: they are never eligible. Otherwise deliver their orders.", tuple(keys),
    )  # fmt: skip


def zero_value(delivery: CheckedDelivery) -> Finding | None:
    """Find the lines of zero value, which do not count as orders."""
    lines, total, customers, keys = delivery.row(
        "SELECT count(*) FILTER (amount = 0 AND NOT is_return), count(*), "
        "(SELECT count(*) FROM (SELECT customer_id FROM checked_days GROUP BY 1 HAVING sum(orders) = 0 AND "
        "sum(return_lines) = 0)), (SELECT (list(customer_id ORDER BY customer_id))[:3] FROM (SELECT customer_id "
        "FROM checked_days GROUP BY 1 HAVING sum(orders) = 0 AND sum(return_lines) = 0)) FROM checked_transactions"
    )
    if not lines:
        return None
    never = f" {plural(customers, 'customer')} {'has' if customers == 1 else 'have'} nothing else." if customers else ""
    return Finding(
        "warning" if lines > MANY_REJECTS * total else "note", "zero_value", "transactions", "amount", int(lines),
        f"{lines:,} of {total:,} lines ({share_of(lines, total)}) have zero value and do not count as orders.{never}",
        "Nothing, if they are gifts and corrections. If the price is missing, deliver it, or leave amount unmapped.",
        tuple(keys or ()),
    )  # fmt: skip


def outliers(delivery: CheckedDelivery, column: str) -> Finding | None:
    """Find a column (amount or quantity) whose sum is dominated by its largest order lines."""
    if not delivery.has(column):
        return None
    lines, total, top, keys = delivery.row(
        f"WITH bought AS (SELECT customer_id, {column} AS v FROM checked_transactions WHERE NOT is_return AND v > 0), "
        f"largest AS (SELECT * FROM bought ORDER BY v DESC, customer_id LIMIT {TOP_LINES}) "
        "SELECT count(*), sum(v), (SELECT sum(v) FROM largest), "
        "(SELECT list(customer_id ORDER BY v DESC, customer_id) FROM largest) FROM bought"
    )
    if lines < LINES_TO_JUDGE_OUTLIERS or top < TOP_LINES_NOTE * float(total):
        return None
    what = "spend" if column == "amount" else "units"
    todo = (
        "Look at them. Correct typing errors, or lower sources.transactions.max_amount. Keep real orders, and read means "
        "and CLV with care."
        if column == "amount"
        else "Look at them. Correct typing errors and mixed units (grams beside pieces) in the delivery."
    )
    return Finding(
        "warning" if top >= TOP_LINES_WARN * float(total) else "note", "outliers", "transactions", column, TOP_LINES,
        f"The {TOP_LINES} largest of {lines:,} order lines hold {share_of(float(top), float(total))} of all {what} "
        f"({top:,.2f} of {total:,.2f}).", todo, tuple(dict.fromkeys(keys)),
    )  # fmt: skip


def cancelled_outliers(delivery: CheckedDelivery) -> Finding | None:
    """Find the very large lines that an opposite line of the same customer cancels."""
    if not delivery.has("amount"):
        return None
    # MATERIALIZED: else DuckDB's join filters what LIMIT chooses from, at times, and the pairs depend on the threads.
    lines, pairs, largest, cancelled, keys = delivery.row(
        "WITH ordered AS MATERIALIZED (SELECT customer_id, amount FROM checked_transactions WHERE amount > 0 "
        f"ORDER BY amount DESC, customer_id LIMIT {TOP_LINES}), "
        "taken_back AS MATERIALIZED (SELECT customer_id, -amount AS amount FROM checked_transactions WHERE amount < 0 "
        f"ORDER BY checked_transactions.amount, customer_id LIMIT {TOP_LINES}), "
        "pairs AS (SELECT DISTINCT * FROM ordered JOIN taken_back USING (customer_id, amount)) "
        "SELECT (SELECT count(*) FROM checked_transactions WHERE amount > 0), count(*), max(amount), sum(amount), "
        "list(customer_id ORDER BY amount DESC, customer_id) FROM pairs"
    )
    if not pairs or lines < LINES_TO_JUDGE_OUTLIERS:
        return None
    return Finding(
        "note", "cancelled_outliers", "transactions", "amount", int(pairs),
        f"{plural(pairs, 'pair')} of very large lines {'cancels' if pairs == 1 else 'cancel'} out (the largest "
        f"±{largest:,.2f}, together ±{cancelled:,.2f}): an order and its full cancellation.",
        "Net spend is right. Gross spend and order counts still include the order: leave out both lines if it was an error.",
        tuple(dict.fromkeys(keys)),
    )  # fmt: skip


def outside_log(delivery: CheckedDelivery, name: str) -> Finding | None:
    """Find the rows of a side table that lie before or after the days of the transactions."""
    if not delivery.has(name):
        return None
    period, day = delivery.period, SOURCES[name].day
    before, after, total, first, last = delivery.row(
        f"SELECT count(*) FILTER ({day} < DATE '{period.first_day}'), "
        f"count(*) FILTER ({day} > DATE '{period.last_day}'), count(*), min({day}), max({day}) FROM checked_{name}"
    )
    if not total or not before + after:
        return None
    return Finding(
        "warning" if before + after == total else "note", "outside_log", name, day, int(before + after),
        f"{before + after:,} of {plural(total, 'row')} lie outside the days of the transactions ({before:,} before "
        f"{period.first_day}, {after:,} after {period.last_day}; they run from {first} to {last}).",
        "Nothing, if this table simply covers other days. If it should match, check its dates and time format.",
    )  # fmt: skip
