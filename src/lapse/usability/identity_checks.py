"""Checks of who is a customer: one id with too much of a table, one customer under several ids, keys that do not join."""

from __future__ import annotations

from collections.abc import Sequence

from lapse.core.source_settings import ID_RULES, IdRule
from lapse.core.tables.sources import SOURCES
from lapse.history.reading.identity import joined_id
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.findings import Finding, plural, present, share_of

# Seven times what nineteen in twenty customers stay below, and a twentieth of all rows, is no person …
GIANT_TIMES = 7
GIANT_SHARE = 0.05
# … nor is, among thousands of customers, a fiftieth of all rows and a hundred times the mean.
GIANT_SHARE_OF_MANY = 0.02
GIANT_TIMES_MEAN = 100
CUSTOMERS_TO_JUDGE = 20
GIANT_TABLES = ("transactions", "events", "feedback")
# A twentieth of the rows without a match is more than gaps: the keys are written differently.
MANY_UNMATCHED = 0.05
# With a hundredth of the customers under two ids, counts of customers, gaps and retention are off.
MANY_SPELLINGS = 0.01
SPELLINGS: dict[IdRule, str] = {
    "unicode": "unicode form",
    "invisible": "invisible characters or spaces",
    "case": "upper and lower case",
    "email": "the name around an e-mail address",
    "decimal": "a .0 at the end",
    "zeros": "leading zeros",
}


def check_identity(delivery: CheckedDelivery) -> list[Finding]:
    """Return what is wrong with the ids of a delivery, and with the keys of its joins."""
    return present([
        *(giants(delivery, name) for name in GIANT_TABLES), spellings(delivery), *joins(delivery),
    ])  # fmt: skip


def giants(delivery: CheckedDelivery, name: str) -> Finding | None:
    """Find the customers with an unbelievable share of a table's rows."""
    if name != "transactions" and not delivery.has(name):
        return None
    found = delivery.rows(
        f"WITH ids AS (SELECT customer_id, count(*) AS rows FROM checked_{name} GROUP BY 1), "
        "usual AS (SELECT sum(rows) AS total, count(*) AS customers, quantile_disc(rows, 0.95) AS most FROM ids) "
        f"SELECT customer_id, rows::BIGINT, total::BIGINT FROM ids, usual WHERE customers >= {CUSTOMERS_TO_JUDGE} "
        f"AND rows >= {GIANT_TIMES} * most AND (rows >= {GIANT_SHARE} * total OR (rows >= {GIANT_SHARE_OF_MANY} * total "
        f"AND rows * customers >= {GIANT_TIMES_MEAN} * total)) ORDER BY 2 DESC, 1"
    )
    if not found:
        return None
    ids = [str(row[0]) for row in found]
    rows, total = sum(row[1] for row in found), found[0][2]
    many = len(ids) > 1
    return Finding(
        "warning", "giant_customer", name, "customer_id", len(ids),
        f"{plural(len(ids), 'customer')} {'hold' if many else 'holds'} "
        f"{rows:,} of {total:,} rows ({share_of(rows, total)}), {'each ' if many else ''}"
        f"at least {GIANT_TIMES} times as many as 19 of 20 customers have.",
        "Find out who that is. If the id stands for nobody (guests, the counter, tests), write it into params, and its rows "
        f"are rejected: sources.nobody: [{_listed(ids[:3])}].", tuple(ids),
    )  # fmt: skip


def spellings(delivery: CheckedDelivery) -> Finding | None:
    """Find the ids that differ only in how they are written, over all tables together."""
    tables = [name for name in SOURCES if name == "transactions" or delivery.has(name)]
    union = " UNION ALL ".join(f"SELECT customer_id, count(*) AS rows FROM checked_{name} GROUP BY 1" for name in tables)
    delivery.engine.connection.execute(
        "CREATE OR REPLACE TEMP TABLE checked_spellings AS SELECT *, count(*) OVER () AS all_ids FROM (SELECT customer_id, "
        f"sum(rows) AS rows, {joined_id('customer_id', ID_RULES)} AS one FROM ({union}) GROUP BY 1) "
        "QUALIFY count(*) OVER (PARTITION BY one) > 1"
    )
    ids, persons, rows, all_ids, keys, addresses = delivery.row(
        "SELECT count(*), count(DISTINCT one), coalesce(sum(rows), 0)::BIGINT, coalesce(any_value(all_ids), 0), "
        "(SELECT list(customer_id ORDER BY one, customer_id) FROM (SELECT * FROM checked_spellings "
        "ORDER BY one, customer_id LIMIT 3)), coalesce(bool_and(contains(one, '@')), false) FROM checked_spellings"
    )
    if not ids:
        return None
    needed = _needed_rules(delivery, int(persons))
    told = ", ".join(SPELLINGS[rule] for rule in needed)
    given = delivery.counts["transactions"].id_rules if "transactions" in delivery.counts else ()
    alone = ["email"] if addresses and {"case"} <= set(needed) <= {"unicode", "invisible", "case", "email"} else needed
    line = [rule for rule in ID_RULES if rule in {*alone, *given}]
    return Finding(
        "warning" if ids - persons > MANY_SPELLINGS * (all_ids - (ids - persons)) else "note",
        "id_spellings", "all tables", "customer_id", int(ids),
        f"{ids:,} of {all_ids:,} ids differ from another one only in {told}: written alike, they are "
        f"{plural(persons, 'customer')} ({plural(rows, 'row')}).",
        f"If they are the same customers, join them in all tables: sources.ids: [{', '.join(line)}].", tuple(keys),
    )  # fmt: skip


def _needed_rules(delivery: CheckedDelivery, persons: int) -> list[IdRule]:
    """Return the rules without which fewer ids would be joined."""
    needed = list(ID_RULES)
    for rule in ("email", *(each for each in ID_RULES if each != "email")):
        fewer = [each for each in needed if each != rule]
        found = delivery.row(f"SELECT count(DISTINCT {joined_id('customer_id', fewer)}) FROM checked_spellings")[0]
        if found == persons:
            needed = fewer
    return needed


def joins(delivery: CheckedDelivery) -> list[Finding]:
    """Find the keys of joined files that have several matches, or none."""
    found = []
    for table, count in delivery.counts.items():
        for join in count.joins:
            where = f"{join.path} on {', '.join(join.on)}"
            if join.rows_without_match:
                many = join.rows_without_match > MANY_UNMATCHED * join.rows
                found.append(Finding(
                    "warning" if many else "note", "join_without_match", table, join.on[0], join.rows_without_match,
                    f"{join.rows_without_match:,} of {plural(join.rows, 'row')} "
                    f"({share_of(join.rows_without_match, join.rows)}) have no match in {where}.",
                    "Their joined columns are empty. Check that both files are of the same days and write the key alike.",
                    tuple(join.without_match),
                ))  # fmt: skip
            if join.rows_added:
                found.append(Finding(
                    "warning" if join.repeats_amounts else "note", "join_multiplies", table, join.on[0],
                    join.rows_with_several,
                    f"{join.rows_with_several:,} of {plural(join.rows, 'row')} "
                    f"({share_of(join.rows_with_several, join.rows)}) have several matches in {where}: the join added "
                    f"{plural(join.rows_added, 'row')}.",
                    f"Whatever is summed counts once for each match. Keep one row for each {', '.join(join.on)} in "
                    f"{join.path}, or name the column that tells them apart in `on`, too."
                    if join.repeats_amounts
                    else f"Nothing, if {join.path} has a row for each item: what is summed comes from it.",
                    tuple(join.with_several),
                ))  # fmt: skip
    return found


def _listed(ids: Sequence[str]) -> str:
    """Return ids as a list of YAML reads them."""
    return ", ".join("'" + one.replace("'", "''") + "'" for one in ids)
