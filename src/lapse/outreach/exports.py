"""One list on its way out: as it lies in the files, for an analyst, or in the layout of a marketing tool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Literal

import pandas as pd

from lapse.core.consent import GIVEN
from lapse.core.engine import open_duckdb
from lapse.core.errors import SettingsError
from lapse.core.files import read_json
from lapse.core.list_settings import READY_MADE, Lists
from lapse.core.source_settings import Sources
from lapse.core.tables.contract import nearest
from lapse.core.tables.sources import CUSTOMERS
from lapse.history.validation.customer_columns import read_consent
from lapse.outreach.customer_columns import columns_on
from lapse.outreach.decisions import Decisions
from lapse.outreach.export import list_as_csv
from lapse.outreach.layouts import Exported, Tool, in_layout
from lapse.outreach.listed import analyst_rows, listed_rows
from lapse.outreach.stage import HEADS, read_made
from lapse.scoring.consent import ConsentRecord, consent_of, may_contact

Delivered = Callable[[Sequence[str]], pd.DataFrame | None]
"""Given names of delivered columns of the customers, reads them (Workspace.delivered_columns)."""
ExportFor = Literal["csv", "analyst"] | Tool
"""The list as it lies in the files, with codes and versions, or in the layout of a tool."""


Consent = Callable[[], ConsentRecord | None]
"""Reads what the delivered customers say of consent now (Workspace.consent_now)."""
SINCE = "without consent since the list was made"


def export_list(
    folder: Path, lists: Lists, name: str, wanted: ExportFor, delivered: Delivered, consent: Consent
) -> Exported:
    """Return a list of the folder of the lists as text, without those who took their yes back since it was made.

    SettingsError for a list that is not there, and for one that is off; errors as in `in_layout`.
    """
    customers, decisions = read_made(folder)
    heads = {head["name"]: head for head in read_json(folder / HEADS)}
    if name not in heads:
        advice = (f"Add `{name}: {{}}` to lists.declared of params.yaml and make the lists anew." if name in READY_MADE
                  else f"{nearest(name, heads)} Lists are declared in lists.declared of params.yaml.")  # fmt: skip
        raise SettingsError(f"export: there is no list {name!r}. {advice}")
    if heads[name]["missing"]:
        raise SettingsError(f"export: {name} is off: it needs {'; and '.join(heads[name]['missing'])}.")
    since = 0
    if asks_consent(heads[name]["consent"], wanted):
        decisions, since = decisions_now(customers, decisions, name, consent)
    found = exported(customers, decisions, lists, name, wanted, delivered)
    return replace(found, left_out={SINCE: since, **found.left_out})


def decisions_now(customers: pd.DataFrame, decisions: Decisions, name: str, consent: Consent) -> tuple[Decisions, int]:
    """Return the decisions without those of a list who took their yes back, and how many they are."""
    listed = customers[customers["customer_id"].isin(decisions.listed(name)["customer_id"])]
    gone = listed.loc[took_back(listed["customer_id"], listed["consent"], consent), "customer_id"]
    rows = decisions.rows
    return Decisions(rows[~((rows["list"] == name) & rows["customer_id"].isin(gone))]), len(gone)


def asks_consent(plan: str, wanted: str) -> bool:
    """Return whether a file holds only who may be contacted; `plan`: ListPlan.consent. Tools are always for contacting."""
    return plan != "not_needed" or wanted not in ("csv", "analyst", "xlsx")


def took_back(ids: pd.Series, states: pd.Series, consent: Consent) -> pd.Series:
    """Return which customers had a clear yes when a list was made, and have none by what is delivered now.

    Nobody, and nothing is read, where no consent was delivered then.
    """
    agreed = states.eq(GIVEN).fillna(value=False).astype(bool)
    said = consent() if agreed.any() else None
    return agreed & ~may_contact(said.of(ids)) if said else agreed & False


def exported(
    customers: pd.DataFrame, decisions: Decisions, lists: Lists, name: str, wanted: ExportFor, delivered: Delivered
) -> Exported:
    """Return a list, or what was chosen of it (those whom `decisions` list), as text; errors as in `in_layout`."""
    if wanted == "csv" or wanted == "analyst":  # noqa: PLR1714 - mypy does not narrow a Literal by `in`
        rows = plain_rows(customers, decisions, name, wanted, delivered(lists.columns))
        return Exported(list_as_csv(rows), len(rows), {})
    own = {column: f"delivered {column}" for column in lists.contact.named}
    columns = of_customers(customers, delivered(lists.contact.named))
    # A delivered column may bear the name of one of ours.
    columns = None if columns is None else columns.rename(columns=own)
    contact = lists.contact.model_copy(
        update={field: own[column] for field, column in lists.contact.model_dump().items() if column is not None}
    )
    return in_layout(analyst_rows(customers, decisions, name, columns), contact, wanted, name)


def plain_rows(
    customers: pd.DataFrame,
    decisions: Decisions,
    name: str,
    wanted: Literal["csv", "analyst"],
    delivered: pd.DataFrame | None,
) -> pd.DataFrame:
    """Return those whom `decisions` list as they lie in the files, with what is delivered of them (lists.columns)."""
    rows_of = listed_rows if wanted == "csv" else analyst_rows
    return rows_of(customers, decisions, name, of_customers(customers, delivered))


def of_customers(customers: pd.DataFrame, delivered: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return delivered columns as `columns_on` the day of the scored customers."""
    return columns_on(delivered, customers[["customer_id"]].assign(cutoff_date=customers["as_of"]))


def delivered_consent(sources: Sources, timezone: str, today: date, data: Path) -> ConsentRecord | None:
    """Return what the delivered customers say of consent today, read anew as `read_consent` does; None without any."""
    if CUSTOMERS.name not in sources.tables:
        return None
    with open_duckdb() as engine:
        return consent_of(read_consent(engine, sources, timezone, today, data), today)
