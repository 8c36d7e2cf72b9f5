"""The commands that hand out lists and say why somebody is on one: at-risk, export, budget, explain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lapse.core.logging import shown
from lapse.core.paths import NIGHTLY

if TYPE_CHECKING:
    import pandas as pd

    from lapse.scoring.reasons import Explanation

Lists = Annotated[Path | None, typer.Option("--lists", help="The folder of the lists; else the newest: data/lists, or that "
                                            "of nightly/latest.")]  # fmt: skip
Format = Literal["table", "csv", "json", "xlsx"]
ExportFor = Literal["csv", "analyst", "klaviyo", "mailchimp", "hubspot", "brevo", "google_ads", "survey"]


def at_risk(
    top: Annotated[int, typer.Option(min=1, help="How many customers.")] = 50,
    form: Annotated[Format, typer.Option("--format", help="How to print them.")] = "table",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")] = None,
) -> None:
    """Print or save the customers most at risk by the last `dvc repro`, with their reasons."""
    from lapse.night.archive import Archive, newest_lists
    from lapse.outreach.export import list_as_csv, list_as_json, list_as_table
    from lapse.outreach.lists import make_list
    from lapse.outreach.spreadsheet import write_spreadsheet
    from lapse.outreach.stage import kept_off_before
    from lapse.workspace import Workspace

    here = Workspace()
    rules = here.list_rules()
    off = kept_off_before(here.paths.lists)
    rules = replace(rules, lists=rules.lists.model_copy(update={"max_customers": top}), off=off)
    columns = None if form == "table" else here.delivered_columns(here.settings.lists.read_along)
    made = make_list(here.scores(), rules, columns)
    if (newer := newest_lists(here.paths.lists, Archive(NIGHTLY))) != here.paths.lists:
        typer.echo(f"This list is of the last `dvc repro`; a newer one, of `lapse score`, is in {newer}.", err=True)
    listed = made.listed
    if form == "xlsx":
        path = out or Path("data/at_risk.xlsx")
        write_spreadsheet(listed, path, made.about)
        typer.echo(f"{len(listed):,} customers in {path}")
        return
    said = [f"CAUTION: {made.about['CAUTION']}."] if "CAUTION" in made.about else []
    said += [made.in_short] if made.in_short else []
    meaning = rules.verdict.meaning
    for sentence in (*said, *made.tally.notes, *(meaning.sentences if meaning else ())):
        typer.echo(sentence, err=True)
    text = {"table": list_as_table, "csv": list_as_csv, "json": list_as_json}[form](listed)
    if out is None:
        # What goes to a file keeps its bytes; a terminal is not to obey them.
        typer.echo(shown(text), nl=False)
    else:
        from lapse.core.files import write_text

        write_text(out, text)
        typer.echo(f"{len(listed):,} customers in {out}")


def export(
    name: Annotated[str, typer.Argument(help="The list, e.g. at_risk: see lists.declared of params.yaml.")],
    for_: Annotated[ExportFor, typer.Option("--for", help="The tool, or csv; analyst: with codes and versions.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="The file; else data/exports/LIST_TOOL.csv, or LIST.csv.")] = None,
    lists: Lists = None,
) -> None:
    """Write a list as a file that a marketing tool imports unedited: Klaviyo, Mailchimp, HubSpot, Brevo, Google Ads.

    The list is the one that stage lists or `lapse score` made last, unless --lists says which. Addresses (lists.contact)
    and consent are read from the delivered customers now; who may not be contacted, took a yes back since, has no usable
    address or one that stands there already is left out and counted. survey: with room for the answers of those on it, such
    as recent_leavers, and how they are read in again.
    """
    from lapse.core.files import write_text
    from lapse.night.archive import Archive, newest_lists
    from lapse.outreach.exports import export_list
    from lapse.outreach.survey import MAPPING
    from lapse.workspace import Workspace

    here = Workspace()
    folder = lists or newest_lists(here.paths.lists, Archive(NIGHTLY))
    found = export_list(folder, here.settings.lists, name, for_, here.delivered_columns, here.consent_now)
    path = out or Path("data") / "exports" / f"{name if for_ == 'csv' else f'{name}_{for_}'}.csv"
    write_text(path, found.text)
    typer.echo(f"{path}: {found.summary}, from {folder}")
    if for_ == "survey":
        typer.echo(MAPPING.format(file=path.name))


def budget(
    name: Annotated[str, typer.Argument(help="The list to choose from.")] = "at_risk",
    money: Annotated[
        float | None, typer.Option(min=0, help="The most that contacting them may be expected to cost.")
    ] = None,
    contacts: Annotated[int | None, typer.Option(min=1, help="The most customers to contact.")] = None,
    out: Annotated[Path | None, typer.Option(help="Save whom to contact to this CSV file.")] = None,
    lists: Lists = None,
) -> None:
    """Say what the best list within a budget is expected to bring, and save whom to contact.

    The one with the largest expected profit: of a list that was made, without its own limit and budget. Says how many are
    expected to be saved, how many would have stayed anyway and what it earns, each with the 95% of the cases around it.
    """
    from lapse.night.archive import Archive, newest_lists
    from lapse.outreach.budget import best_list
    from lapse.outreach.export import write_csv
    from lapse.outreach.exports import SINCE, decisions_now, of_customers
    from lapse.outreach.listed import listed_rows
    from lapse.outreach.stage import read_made
    from lapse.workspace import Workspace

    here = Workspace()
    folder = lists or newest_lists(here.paths.lists, Archive(NIGHTLY))
    customers, decisions = read_made(folder)
    best = best_list(
        customers, decisions, name, money=money, contacts=contacts, settings=here.settings, verdict=here.list_rules().verdict
    )
    typer.echo(f"{best.people:,} of {best.of:,} customers of {name} as of {customers['as_of'].iloc[0]}, from "
               f"{folder}.")  # fmt: skip
    if best.expected is not None:
        typer.echo(best.expected.text)
    if out is not None:
        columns = of_customers(customers, here.delivered_columns(here.settings.lists.columns))
        chosen, since = decisions_now(customers, best.decisions, name, here.consent_now)
        write_csv(listed_rows(customers, chosen, name, columns), out)
        typer.echo(f"Saved to {out}{f'; left out: {since:,} {SINCE}' if since else ''}.")


def explain(customer_id: Annotated[str, typer.Argument(help="The customer's id, as in the delivery.")]) -> None:
    """Show one customer's risk, what raises it, what speaks against it, and the history behind it.

    The scores hold the reasons of customers at risk; for any other customer they are computed now, which takes longer.
    """
    from lapse.core.engine import open_duckdb
    from lapse.history.reading.identity import id_of
    from lapse.scoring.explain import customer_text, day_of, explain_customer
    from lapse.workspace import Workspace

    here = Workspace()
    with open_duckdb() as engine:
        activity = here.activity_tables(engine)

        def explained(scored: pd.Series) -> Explanation:
            bundle = here.final_bundle()
            stale_tables = here.freshness(bundle, day_of(scored)).require()
            return explain_customer(engine, activity, bundle, here.profile, scored, stale_tables)

        who = id_of(engine, customer_id, here.sources.id_rules)
        typer.echo(shown(customer_text(engine, activity["purchase_days"], here.scores(), who, explained)))
