"""Checks of the rows that were delivered: rejects, duplicates, unknown ids, returns, outliers."""

from __future__ import annotations

from lapse.usability.findings import Delivered, Finding, kept, plural, share_of

# A twentieth of a table unreadable is more than typing errors: the mapping or the export is wrong.
MANY_REJECTS = 0.05
# Customers' numbers missing on a tenth of the lines: the buying of the known ones is no longer seen whole.
MANY_WITHOUT_CUSTOMER = 0.10
# A twentieth of the events about people who never bought: another numbering, or another list of people.
MANY_UNKNOWN = 0.05
TOP_LINES = 10
# Ten lines of a log should not decide sums; at a twentieth of all spend they decide means, shares and CLV.
TOP_LINES_WARN = 0.05
# A hundredth is where a single mean order value begins to say more about a line than about customers.
TOP_LINES_NOTE = 0.01
# With fewer lines than this, ten of them are a fair share of the log.
LINES_TO_JUDGE_OUTLIERS = 1_000
NO_CUSTOMER = "customer_id is missing"
PLACEHOLDER = "(no customer_id)"


def check_rows(delivered: Delivered) -> list[Finding]:
    """Return what is wrong with single rows of a delivery."""
    return [
        *rejected(delivered),
        *duplicates(delivered),
        *unknown_ids(delivered),
        *kept(
            [
                only_returns(delivered),
                zero_value(delivered),
                outliers(delivered, "amount"),
                outliers(delivered, "quantity"),
                cancelled_outliers(delivered),
                outside_log(delivered, "events"),
                outside_log(delivered, "feedback"),
            ]
        ),
    ]


def rejected(delivered: Delivered) -> list[Finding]:
    """Return one finding per table and reason for which rows were rejected."""
    found = []
    for table, count in delivered.counts.items():
        for reject in count.rejects:
            rows, reason, column = int(reject["rows"]), str(reject["reason"]), reject["column"]
            without = reason.startswith(NO_CUSTOMER)
            limit = MANY_WITHOUT_CUSTOMER if without else MANY_REJECTS
            todo = (
                "Find out who they are (guests, counter sales?). What these people buy is not seen: if known customers are "
                "among them, they look more silent than they are."
                if without
                else f"Look at them in data/validated/rejects.parquet and correct the delivery or sources.{table}."
            )
            found.append(Finding(
                "warning" if rows > limit * count.rows_in else "note",
                "without_customer" if without else "rejects", table, column, rows,
                f"{rows:,} of {count.rows_in:,} rows ({share_of(rows, count.rows_in)}) were rejected: {reason}.", todo,
                tuple(key for key in reject["sample_keys"] if key != PLACEHOLDER),
            ))  # fmt: skip
    return found


def duplicates(delivered: Delivered) -> list[Finding]:
    """Return a finding for each table of which identical rows were dropped."""
    return [
        Finding(
            "warning" if count.rows_duplicate > MANY_REJECTS * count.rows_in else "note",
            "duplicates", table, None, count.rows_duplicate,
            f"{plural(count.rows_duplicate, 'row')} of {count.rows_in:,} ({share_of(count.rows_duplicate, count.rows_in)}) "
            "repeated another row in every delivered column and were dropped.",
            f"If a customer can do the same thing twice in one moment, set sources.{table}.duplicates: keep.",
        )
        for table, count in delivered.counts.items() if count.rows_duplicate
    ]  # fmt: skip


def unknown_ids(delivered: Delivered) -> list[Finding]:
    """Return findings for ids of one table that are missing in the other."""
    found = []
    for name in ("events", "feedback"):
        if delivered.has(name):
            found.append(_without_transactions(delivered, name))
    if delivered.has("customers"):
        found += [_customers_in_no_transaction(delivered), _buyers_without_customer_row(delivered)]
    return kept(found)


def _without_transactions(delivered: Delivered, name: str) -> Finding | None:
    rows, ids, keys, total = delivered.row(
        f"SELECT count(*), count(DISTINCT t.customer_id), (list(DISTINCT t.customer_id ORDER BY t.customer_id))[:3], "
        f"(SELECT count(*) FROM checked_{name}) FROM checked_{name} t "
        "ANTI JOIN checked_days d ON t.customer_id = d.customer_id"
    )
    if not rows:
        return None
    return Finding(
        "warning" if rows > MANY_UNKNOWN * total else "note", "unknown_ids", name, "customer_id", int(rows),
        f"{rows:,} of {total:,} rows ({share_of(rows, total)}) belong to {plural(ids, 'customer')} without any transaction.",
        "Check that both tables number people alike. If they do, these people never bought, and their rows are not used.",
        tuple(keys or ()),
    )  # fmt: skip


def _customers_in_no_transaction(delivered: Delivered) -> Finding | None:
    missing, keys, total = delivered.row(
        "SELECT count(*), (list(c.customer_id ORDER BY c.customer_id))[:3], (SELECT count(*) FROM checked_customers) "
        "FROM checked_customers c ANTI JOIN checked_days d ON c.customer_id = d.customer_id"
    )
    if not missing:
        return None
    return Finding(
        "warning" if missing == total else "note", "customers_without_transactions", "customers", "customer_id",
        int(missing),
        f"{missing:,} of {total:,} customers ({share_of(missing, total)}) are in no transaction.",
        "They are never scored. If they should have bought, check that both tables number people alike.",
        tuple(keys or ()),
    )  # fmt: skip


def _buyers_without_customer_row(delivered: Delivered) -> Finding | None:
    missing, total, keys = delivered.row(
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


def only_returns(delivered: Delivered) -> Finding | None:
    """Return a finding for customers who return and never order."""
    count, keys = delivered.row(
        "SELECT count(*), (list(customer_id ORDER BY customer_id))[:3] FROM (SELECT customer_id FROM checked_days "
        "GROUP BY 1 HAVING sum(orders) = 0 AND sum(return_lines) > 0)"
    )
    if not count:
        return None
    return Finding(
        "note", "only_returns", "transactions", "customer_id", int(count),
        f"{plural(count, 'customer')} only ever {'returns' if count == 1 else 'return'} and never "
        f"{'orders' if count == 1 else 'order'}: what they bought lies before the log or is missing.",
        "Nothing, if the log simply begins later: they are never eligible. Else deliver their orders.", tuple(keys),
    )  # fmt: skip


def zero_value(delivered: Delivered) -> Finding | None:
    """Return a finding for lines of zero value: they are not orders."""
    lines, total, customers, keys = delivered.row(
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
        f"{lines:,} of {total:,} lines ({share_of(lines, total)}) are of zero value and count as no order.{never}",
        "Nothing, if they are gifts and corrections. If the price is missing, deliver it, or map no amount at all.",
        tuple(keys or ()),
    )  # fmt: skip


def outliers(delivered: Delivered, column: str) -> Finding | None:
    """Return a finding when the largest order lines dominate the sum of a column (amount or quantity)."""
    if not delivered.has(column):
        return None
    lines, total, top, keys = delivered.row(
        f"WITH bought AS (SELECT customer_id, {column} AS v FROM checked_transactions WHERE NOT is_return AND v > 0), "
        f"largest AS (SELECT * FROM bought ORDER BY v DESC, customer_id LIMIT {TOP_LINES}) "
        "SELECT count(*), sum(v), (SELECT sum(v) FROM largest), "
        "(SELECT list(customer_id ORDER BY v DESC, customer_id) FROM largest) FROM bought"
    )
    if lines < LINES_TO_JUDGE_OUTLIERS or top < TOP_LINES_NOTE * float(total):
        return None
    what = "spend" if column == "amount" else "units"
    todo = (
        "Look at them. Typing errors: correct them or lower sources.transactions.max_amount. Real: keep them, and read "
        "means and CLV with care."
        if column == "amount"
        else "Look at them. Typing errors, or another unit (grams beside pieces): correct them in the delivery."
    )
    return Finding(
        "warning" if top >= TOP_LINES_WARN * float(total) else "note", "outliers", "transactions", column, TOP_LINES,
        f"The {TOP_LINES} largest of {lines:,} order lines hold {share_of(float(top), float(total))} of all {what} "
        f"({top:,.2f} of {total:,.2f}).", todo, tuple(dict.fromkeys(keys)),
    )  # fmt: skip


def cancelled_outliers(delivered: Delivered) -> Finding | None:
    """Return a finding for very large lines that the same customer's opposite line cancels."""
    if not delivered.has("amount"):
        return None
    lines, pairs, largest, cancelled, keys = delivered.row(
        "WITH ordered AS (SELECT customer_id, amount FROM checked_transactions WHERE amount > 0 "
        f"ORDER BY amount DESC, customer_id LIMIT {TOP_LINES}), "
        "taken_back AS (SELECT customer_id, -amount AS amount FROM checked_transactions WHERE amount < 0 "
        f"ORDER BY checked_transactions.amount, customer_id LIMIT {TOP_LINES}), "
        "pairs AS (SELECT DISTINCT * FROM ordered JOIN taken_back USING (customer_id, amount)) "
        "SELECT (SELECT count(*) FROM checked_transactions WHERE amount > 0), count(*), max(amount), sum(amount), "
        "list(customer_id ORDER BY amount DESC, customer_id) FROM pairs"
    )
    if not pairs or lines < LINES_TO_JUDGE_OUTLIERS:
        return None
    return Finding(
        "note", "cancelled_outliers", "transactions", "amount", int(pairs),
        f"{plural(pairs, 'pair')} of very large lines cancel each other (the largest ±{largest:,.2f}, together "
        f"±{cancelled:,.2f}): an order and its full cancellation.",
        "Net spend is right. Gross spend and order counts still hold the order: leave both lines out if it was a mistake.",
        tuple(dict.fromkeys(keys)),
    )  # fmt: skip


def outside_log(delivered: Delivered, name: str) -> Finding | None:
    """Return findings for rows of a side table before or after the transactions' days."""
    if not delivered.has(name):
        return None
    period, day = delivered.profile.period, {"events": "event_date", "feedback": "feedback_date"}[name]
    before, after, total, first, last = delivered.row(
        f"SELECT count(*) FILTER ({day} < DATE '{period.first_day}'), "
        f"count(*) FILTER ({day} > DATE '{period.last_day}'), count(*), min({day}), max({day}) FROM checked_{name}"
    )
    if not total or not before + after:
        return None
    return Finding(
        "warning" if before + after == total else "note", "outside_log", name, day, int(before + after),
        f"{before + after:,} of {plural(total, 'row')} lie outside the days of the transactions ({before:,} before "
        f"{period.first_day}, {after:,} after {period.last_day}; they run from {first} to {last}).",
        "Nothing, if this table simply covers other days. Where it should match, check its dates and time format.",
    )  # fmt: skip
