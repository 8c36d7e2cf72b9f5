"""Which of a delivery's files is which of our tables, and which of their columns is which of ours: a proposal to be read.

Told from the columns' names in ten languages, held against what stands in them: a day must be readable as one, an amount
as a number. What no name tells is left open and said; nothing is guessed from values alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lapse.core.engine import DuckEngine, open_duckdb
from lapse.core.errors import DataError
from lapse.core.tables.sources import SOURCES
from lapse.history.reading.expressions import columns_in, literal, quoted
from lapse.history.validation.flags import NO, YES
from lapse.setup.column_words import CUSTOMER, DAY, FOR_EYES, plain_name, rank_of
from lapse.setup.delivered_files import DeliveredColumn, DeliveredFile, best, look_at
from lapse.setup.order_lines import (
    MOST_GROUPS,
    export_of_a_shop,
    one_amount,
    open_questions,
    which_count,
    without_totals,
)
from lapse.setup.proposal import MEETING, Proposal, ProposedTable

DAYS_OF_OURS = ("timestamp", "date")
SCALES = ((0, 1), (1, 5), (0, 5), (1, 10), (0, 10), (0, 100))
"""The usual rating scales, the narrowest first: the first that holds every rating is proposed."""
AFTERWARDS = re.compile(
    r"churn|attrit|cancel|close|inactiv|deactiv|lost|exit|status|kundig|kuendig|opzeg|oppsig|解約|退会|"
    r"total|(?<!c)count(?!r)|spen[dt]|orders|purchases|revenue|lifetime|ltv|last|recent|balance|umsatz|anzahl|bestell|letzt|"
    r"aantal|omzet|laatst|antall|siste|nombre(?!$)|commandes|dernier|ultim|pedidos|ordini|zamowien|回数|累計|最終"
)
"""A column with such a name may say who left, or what was bought up to the day of the export: a model that learned from it
would know the future."""
CONSENT = re.compile(
    r"consent|optin|newsletter|mailing|marketing|einwillig|werbung|toestemming|samtykke|zgoda|gdpr|rgpd|dsgvo|accord|autori[sz]|acept|accett|publicid|permis|同意"
)
"""A column of yes and no with such a name says who may be reached."""


def propose(folder: Path) -> Proposal:
    """Return what the files of a delivery's folder are taken for; DataError when there is none that lapse reads."""
    with open_duckdb() as engine:
        files, failed = look_at(engine, folder)
        if not files:
            why = f" {failed[0]}" if failed else ""
            raise DataError(
                f"{folder} holds no file that lapse can read.{why} Put your files there, or name another folder."
            )
        tables, unused, visits = [], list(failed), []
        without = [file for file in files if _customer(file) is None]
        for file in [file for file in files if file not in without]:
            proposed = _by_order(file, without) or _tables_of(engine, file)
            tables += proposed
            without = [other for other in without if other.title not in {table.file.title for table in proposed}]
            if not proposed and (visit := _visits(file)):
                visits.append(visit)
            elif not proposed:
                unused.append(f"{file.title}: not used. It has a customer, but neither a day with an order, an event or a "
                              "rating, nor one row per customer.")  # fmt: skip
        unused += [f"{file.title}: not used. No column has the name of a customer's id, nor of an order's that another file "
                   "gives a customer." for file in without]  # fmt: skip
        tables += _as_orders_or_events(tables, visits)
        _let_customers_meet(engine, tables)
    customers = [table.file for table in tables if table.table == "customers"]
    for_eyes = [column.name for file in customers for column in file.columns if _is_for_eyes(column)]
    return Proposal(tables, list(dict.fromkeys(for_eyes)), unused)


def _customer(file: DeliveredFile) -> DeliveredColumn | None:
    return best(file, CUSTOMER, [column for column in file.columns if not column.is_day])


def _by_order(orders: DeliveredFile, without: Sequence[DeliveredFile]) -> list[ProposedTable]:
    """Return the lines and ratings that name an order and no customer, joined to the file that says whose order it is.

    Empty where nothing can be joined to this file, or no file of lines is there: then the orders are no mere heads.
    """
    columns = _mapped(orders, "transactions")
    if not {"order_id", "ordered_at"} <= columns.keys():
        return []
    order = columns["order_id"]
    found: list[ProposedTable] = []
    for other in (other for other in without if order in other.names):
        further = [column for column in orders.columns if column.name not in other.names]
        joined = DeliveredFile(other.path, other.rows, (*other.columns, *further), other.staged, other.sheet)
        joins = {"joins": [{**orders.place, "on": [order]}]}
        if any(best(other, name, other.columns) for name in ("product_id", "unit_price")):
            found.append(replace(_order_lines(joined, _mapped(joined, "transactions"), joins), holder=orders))
        elif "rating" in (ratings := _mapped(joined, "feedback")):
            # The rating's own day: on the day of the order nobody knew it.
            own = _mapped(other, "feedback").get("rated_at")
            found += _feedback_and_events(joined, ratings | {"rated_at": own}, joins) if own else []
    return found if any(table.table == "transactions" for table in found) else []


def _mapped(file: DeliveredFile, table: str, taken: Iterable[str] = ()) -> dict[str, str]:
    """Return which columns of a file are which of a table's, each at most once."""
    found: dict[str, str] = {}
    used = set(taken)
    for column in SOURCES[table].columns:
        is_day = column.type in DAYS_OF_OURS
        meant = DAY if is_day and column.required and table != "subscriptions" else column.name
        free = [theirs for theirs in file.columns if theirs.name not in used]
        fitting = {
            "text": [theirs for theirs in free if not theirs.is_day],
            "flag": [theirs for theirs in free if not theirs.is_day and theirs.different <= 3],
        }.get(column.type, [theirs for theirs in free if theirs.is_day == is_day and (is_day or theirs.is_number)])
        sure = best(file, meant, fitting)
        if sure is None and is_day and column.required and len(days := [theirs for theirs in free if theirs.is_day]) == 1:
            sure = days[0]
        if sure is not None:
            found[column.name] = sure.name
            used.add(sure.name)
    return found


def _tables_of(engine: DuckEngine, file: DeliveredFile) -> list[ProposedTable]:
    """Return which tables a file with a customer is: one, or events and feedback at once."""
    subscriptions = _mapped(file, "subscriptions")
    if {"started_date", "ended_date"} <= subscriptions.keys():
        own = next((name for name in _unique(file) if plain_name(name) == "id"), None)
        subscriptions = subscriptions if own is None else {"subscription_id": own} | subscriptions
        return [ProposedTable("subscriptions", file, subscriptions)]
    if known := export_of_a_shop(file):
        name, columns, settings = known
        said = (
            f"taken for an order export as in `lapse init --source {name}`, whose other settings (section churn) fit it, too"
        )
        return [ProposedTable("transactions", file, columns, settings, [said])]
    orders = _mapped(file, "transactions")
    feedback = _mapped(file, "feedback")
    if {"rated_at", "rating"} <= feedback.keys() and not orders.keys() & {"order_id", "amount", "unit_price", "quantity"}:
        return _feedback_and_events(file, feedback, {})
    if "ordered_at" in orders and orders.keys() & {"order_id", "amount", "unit_price", "quantity", "product_id"}:
        return [_transactions(engine, file, orders)]
    events = _mapped(file, "events")
    if {"occurred_at", "event_type"} <= events.keys():
        return [ProposedTable("events", file, events)]
    return [_customers(file, _mapped(file, "customers"))] if _keys(file) else []


def _visits(file: DeliveredFile) -> ProposedTable | None:
    """Return a file of who came when, and of nothing else that orders or events have; None for others."""
    columns = _mapped(file, "transactions")
    if {"customer_id", "ordered_at"} <= columns.keys() and not _keys(file):
        return ProposedTable("transactions", file, columns)
    return None


def _as_orders_or_events(tables: Sequence[ProposedTable], visits: Sequence[ProposedTable]) -> list[ProposedTable]:
    """Return what visits are taken for: events beside orders or contracts; else the orders, as events are without either."""
    if any(table.table in ("transactions", "subscriptions") for table in tables):
        return [
            ProposedTable("events", visit.file, {"customer_id": visit.columns["customer_id"],
                                                 "occurred_at": visit.columns["ordered_at"]},
                          {"derive": {"event_type": literal(Path(visit.file.path).stem)}})
            for visit in visits
        ]  # fmt: skip
    if visits:
        said = "there are no orders, so a day on which somebody came counts as one: churn is to stay away"
        return [replace(visit, questions=[said]) for visit in visits]
    said = ("there are no orders, so a day with an event counts as one: churn is to do nothing any more. Leave out by where "
            "what happens without the customer")  # fmt: skip
    return [
        ProposedTable("transactions", table.file, {"customer_id": table.columns["customer_id"],
                                                   "ordered_at": table.columns["occurred_at"]}, questions=[said])
        for table in tables
        if table.table == "events"
    ]  # fmt: skip


def _keys(file: DeliveredFile) -> list[str]:
    """Return the columns that may be a customers' file's key: one row per value."""
    return [name for name in _unique(file) if rank_of(name, CUSTOMER) is not None or plain_name(name) == "id"]


def _unique(file: DeliveredFile) -> list[str]:
    return [column.name for column in file.columns if column.different == file.rows]


def _transactions(engine: DuckEngine, file: DeliveredFile, columns: dict[str, str]) -> ProposedTable:
    """Return the order lines of one file, without the orders that came to nothing."""
    columns, totals = without_totals(engine, file, columns)
    return _order_lines(file, columns, {}, totals)


def _order_lines(
    file: DeliveredFile, columns: dict[str, str], joins: dict[str, Any], questions: Sequence[str] = ()
) -> ProposedTable:
    columns = one_amount(columns)
    counted, status = which_count(file)
    return ProposedTable(
        "transactions", file, columns, joins | counted, [*questions, *status, *open_questions(file, columns)]
    )


def _feedback_and_events(file: DeliveredFile, columns: dict[str, str], joins: dict[str, Any]) -> list[ProposedTable]:
    """Return the ratings with their scale; where the rows have a kind, too, they are events as well."""
    ratings = next(column for column in file.columns if column.name == columns["rating"])
    found = [
        float(value.replace(",", ".")) for value in ratings.values if value.replace(",", ".").replace(".", "").isdigit()
    ]
    low, high = min(found, default=0.0), max(found, default=1.0)
    scale = next(((a, b) for a, b in SCALES if a <= low and high <= b), (low, high))
    settings = {**joins, "scale_min": scale[0], "scale_max": scale[1]}
    questions = [f"the ratings that were looked at lie between {low:g} and {high:g}: is the scale one of {scale[0]:g} to "
                 f"{scale[1]:g}?"]  # fmt: skip
    tables = [ProposedTable("feedback", file, columns, settings, questions)]
    events = _mapped(file, "events", taken=[columns["rating"]])
    if {"occurred_at", "event_type"} <= events.keys():
        tables.insert(0, ProposedTable("events", file, events, joins))
    return tables


def _customers(file: DeliveredFile, columns: dict[str, str]) -> ProposedTable:
    if columns["customer_id"] not in (keys := _keys(file)):
        columns = columns | {"customer_id": keys[0]}
    questions = []
    if "consent" not in columns and (consent := next(filter(_may_say_consent, file.columns), None)):
        columns = columns | {"consent": consent.name}
        questions.append(f"{consent.name}: taken for the consent to being contacted; see whether its yes says that")
    attributes = [
        column.name
        for column in file.columns
        if column.name not in columns.values()
        and not _is_for_eyes(column)
        and not column.is_day
        and 1 < column.different <= MOST_GROUPS
    ]
    late = [name for name in attributes if AFTERWARDS.search(plain_name(name))]
    attributes = [name for name in attributes if name not in late]
    questions += [f"left out of attributes, since they may know what came later: {', '.join(late)}"] if late else []
    return ProposedTable("customers", file, columns, {"attributes": attributes} if attributes else {}, questions)


def _is_for_eyes(column: DeliveredColumn) -> bool:
    return rank_of(column.name, FOR_EYES) is not None or column.is_email


def _may_say_consent(column: DeliveredColumn) -> bool:
    return bool(CONSENT.search(plain_name(column.name))) and {value.casefold() for value in column.values} <= {*YES, *NO}


def _let_customers_meet(engine: DuckEngine, tables: list[ProposedTable]) -> None:
    """Take for the customers' key what the orders call a customer, and ask where no column of another file is that."""
    orders = next((table for table in tables if table.table in ("transactions", "subscriptions")), None)
    if orders is None:
        return
    for place, other in enumerate(tables):
        if other.file.title == orders.file.title or other.settings.get("joins"):
            continue
        table, key = other, other.columns["customer_id"]
        candidates = [key, *(_keys(table.file) if table.table == "customers" else [])]
        shares = {name: _share_met(engine, table.file, name, orders) for name in candidates}
        met = next((name for name, share in shares.items() if share >= MEETING), key)
        if met != key:
            table = tables[place] = _customers(table.file, _mapped(table.file, "customers") | {"customer_id": met})
        if shares[met] < MEETING:
            table.questions.append(f"{shares[met]:.0%} of the customers are in this file and in {orders.file.title}: see "
                                   f"whether {met} is what is called a customer there")  # fmt: skip
        elif "customer_id" in (derived := orders.settings.get("derive", {})):
            del table.columns["customer_id"]
            as_there = derived["customer_id"].replace(_customer_of(orders), quoted(met))
            table.settings["derive"] = {"customer_id": as_there}


def _customer_of(orders: ProposedTable) -> str:
    """Return the column of the orders, or of a file joined to them, that says whose they are."""
    derived = orders.settings.get("derive", {}).get("customer_id")
    return orders.columns["customer_id"] if derived is None else columns_in(derived, orders.file.names)[0]


def _share_met(engine: DuckEngine, file: DeliveredFile, key: str, orders: ProposedTable) -> float:
    """Return which share of the customers of the file with fewer of them stands in the other file, too."""
    holder = orders.holder or orders.file
    theirs, ours = (f"SELECT DISTINCT lower(trim({of.sql_name(column)}::VARCHAR)) AS id FROM {of.staged} WHERE id <> ''"
                    for of, column in ((file, key), (holder, _customer_of(orders))))  # fmt: skip
    ((met, fewest),) = engine.connection.execute(
        f"SELECT (SELECT count(*) FROM ({theirs}) SEMI JOIN ({ours}) USING (id)), "
        f"least((SELECT count(*) FROM ({theirs})), (SELECT count(*) FROM ({ours})))"
    ).fetchall()
    return met / fewest if fewest else 0.0
