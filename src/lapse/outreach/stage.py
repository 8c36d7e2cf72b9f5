"""Stage lists: every list that a workspace has, from one table of customers, with what was decided of each customer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lapse.core.engine import Engine, open_duckdb
from lapse.core.errors import DataError, LapseError
from lapse.core.files import atomic_write, write_json
from lapse.core.list_settings import OTHERWISE
from lapse.core.logging import stage_logger
from lapse.core.settings import Settings
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.contract import Column, Type, nearest
from lapse.core.tables.lists import LIST_DECISIONS, SCORED_CUSTOMERS
from lapse.features.causes import CAUSES, NOTHING_UNUSUAL
from lapse.outreach.customer_columns import VALID_FROM, columns_on
from lapse.outreach.decisions import Decisions, decide, matching
from lapse.outreach.export import write_csv
from lapse.outreach.heads import ListHead, heads_of
from lapse.outreach.listed import listed_rows
from lapse.outreach.lists import MadeList, write_every_list
from lapse.outreach.plans import WITH_A_FILE, list_plans
from lapse.outreach.rules import ListRules, ranked_by
from lapse.outreach.scored_customers import Told, scored_customers
from lapse.outreach.workbook import write_workbook

LOG = stage_logger("lists")

CUSTOMERS, DECISIONS, HEADS, WORKBOOK = "scored_customers.parquet", "decisions.parquet", "lists.json", "lists.xlsx"
ALWAYS = ("at_risk.csv", "at_risk.xlsx", "at_risk_about.txt", "leaving.csv", CUSTOMERS, DECISIONS, HEADS, WORKBOOK)
"""The files of every run; a list that params declare adds its own .csv."""
ARROW: dict[Type, pa.DataType] = {
    "text": pa.string(), "timestamp": pa.timestamp("us"), "date": pa.date32(), "decimal": pa.decimal128(18, 4),
    "count": pa.int64(), "flag": pa.bool_(), "number": pa.float64(),
}  # fmt: skip


@dataclass(frozen=True)
class MadeLists:
    """What stage lists made."""

    at_risk: MadeList
    heads: Sequence[ListHead]
    files: tuple[str, ...]
    """Their names in the folder of the lists."""


def write_lists(
    engine: Engine,
    told: Told,
    out: Path,
    rules: ListRules,
    settings: Settings,
    *,
    customer_columns: pd.DataFrame | None = None,
) -> MadeLists:
    """Write the table that lists choose from, what was decided, and every list to `out`; return what is to be said.

    `customer_columns`: what lists.columns and birthday name, as read_customer_columns returns it. Rules and orders of
    params were checked with the settings.
    """
    _warn_of_unknown_actions(settings.lists.actions, told.scores)
    customers = scored_customers(engine, told, settings, birthdays_of(customer_columns, told, settings.lists.birthday))
    wanted = settings.lists.columns
    if customer_columns is not None:
        customer_columns = customer_columns[["customer_id", VALID_FROM, *wanted]] if wanted else None
    plans = list_plans(settings, told.profile, ranked_by(customers, settings.lists))
    with open_duckdb() as closed:
        named = matching(closed, customers, plans, out)
    decisions = decide(customers, plans, named, rules)
    rules = replace(rules, off={plan.name: decisions.beyond_scores(plan.name) for plan in plans})
    made = write_every_list(told.scores, told.leaving, out, rules, customer_columns=customer_columns)
    heads = heads_of(customers, plans, decisions, rules, settings)
    write_table(customers, SCORED_CUSTOMERS.columns, out / CUSTOMERS)
    write_table(decisions.rows, LIST_DECISIONS.columns, out / DECISIONS)
    columns = columns_on(customer_columns, told.scores)
    rows = {plan.name: listed_rows(customers, decisions, plan.name, columns) for plan in plans}
    declared = [plan.name for plan in plans if plan.name not in WITH_A_FILE]
    for name in declared:
        write_csv(rows[name], out / f"{name}.csv")
    write_workbook({head.plan.name: rows[head.plan.name] for head in heads}, heads, out / WORKBOOK)
    write_json(out / HEADS, [head.to_json() for head in heads])
    files = (*ALWAYS, *(f"{name}.csv" for name in declared))
    remove_others(out, files)
    return MadeLists(made, heads, files)


def birthdays_of(customer_columns: pd.DataFrame | None, told: Told, column: str | None) -> pd.Series | None:
    """Return customer -> day of birth, as `lists.birthday` has it; DataError where no cell can be read as a day."""
    rows = None if column is None else columns_on(customer_columns, told.scores)
    if rows is None:
        return None
    given = rows.set_index("customer_id")[column].dropna()
    days = pd.to_datetime(given.str.slice(0, 10), format="%Y-%m-%d", errors="coerce").dropna()
    if len(given) and days.empty:
        raise DataError(f"lists.birthday: none of the {len(given):,} cells in the customers' column {column!r} is a day "
                        "like 1980-05-31. Deliver it so, or leave lists.birthday out.")  # fmt: skip
    return days


def remove_others(out: Path, files: Iterable[str]) -> None:
    """Remove the lists of earlier params: a list that nobody declares any more is not as of today."""
    for path in out.glob("*.csv"):
        if path.name not in set(files):
            path.unlink()


def read_made(out: Path) -> tuple[pd.DataFrame, Decisions]:
    """Return the scored customers and the decisions that `write_lists` wrote; LapseError where there are none."""
    for name in (CUSTOMERS, DECISIONS):
        if not (out / name).exists():
            raise LapseError(f"{out / name} is not there. Make the lists first: `dvc repro lists` or `lapse score`.")
    return pd.read_parquet(out / CUSTOMERS), Decisions(pd.read_parquet(out / DECISIONS))


def kept_off_before(out: Path) -> Mapping[str, Mapping[str, str]]:
    """Return ListRules.off as the lists in a folder were made with it; nothing where there are none."""
    if not (out / DECISIONS).exists():
        return {}
    decisions = Decisions(pd.read_parquet(out / DECISIONS))
    return {str(name): decisions.beyond_scores(str(name)) for name in decisions.rows["list"].unique()}


def log_heads(heads: Sequence[ListHead]) -> None:
    """Log what became of every list besides that at risk, a line each."""
    for head in heads:
        if head.plan.name not in WITH_A_FILE:
            off = sum(head.kept_off.values())
            LOG.info(f"{head.plan.name}: {head.summary}{f' {off:,} kept off.' if off else ''}")


def _warn_of_unknown_actions(actions: Mapping[str, str], scores: pd.DataFrame) -> None:
    """Log which actions belong to no cause of lapse's, nor to one that the scores name: nobody would ever get them."""
    known = {*CAUSES, NOTHING_UNUSUAL, OTHERWISE, *scores["reason_1_code"].dropna()}
    for code in actions:
        if code not in known:
            LOG.warning(f"WARNING lists.actions: no reason has the code {code!r}. {nearest(code, known)}")


def write_table(rows: pd.DataFrame, columns: Sequence[Column], path: Path) -> None:
    """Write a table as one whole Parquet file whose types do not depend on what the rows hold."""
    own = [name for name in rows.columns if name.startswith(ATTRIBUTE)]
    schema = pa.schema([(column.name, ARROW[column.type]) for column in columns] + [(name, pa.string()) for name in own])
    with atomic_write(path) as temporary:
        pq.write_table(pa.Table.from_pandas(rows, schema, preserve_index=False), temporary, compression="zstd")
