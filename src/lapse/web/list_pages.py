"""The pages of lists: who needs you this week, one list with its filters, and its downloads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.responses import Response

from lapse.core.errors import SettingsError, StaleData
from lapse.core.language import say
from lapse.outreach.expected import Expected, campaign_costs, expected_of
from lapse.web.answers import as_csv, as_json, attached, page, suffix_of
from lapse.web.downloads import download, record, taken_now, wanted_of
from lapse.web.listing import Listing, listing_as_json
from lapse.web.selection import Index, short_name
from lapse.web.shelf import Held
from lapse.web.site import Changed, NotAllowed, Site, frame
from lapse.web.wording import kept_off, sentence

MOST_EXPECTED, ROUNDS = 20_000, 200
"""Customers for whom the page works out what contacting them is expected to do, and draws behind its intervals."""
OF_CARDS = ("name", "title", "people", "at_stake", "as_of", "grade", "last_time", "summary")


@dataclass(frozen=True)
class ListPages:
    """Answers the addresses of lists."""

    site: Site

    def home(self, request: Request) -> Response:
        """Show who needs you this week: a card per list."""
        now = self.site.shelf.current()
        cards = [made.head for made in now.view.lists.values()]
        plain = [dict(head.to_json()) for head in cards]
        if suffix_of(request) == "json":
            return as_json(plain)
        if suffix_of(request) == "csv":
            return as_csv([{name: row[name] for name in OF_CARDS} for row in plain], "lists")
        return page(request, "home.html", cards=cards, **frame(now))

    def one(self, request: Request) -> Response:
        """Show one list: filters with counts, who passes them and why; as .csv it is a download."""
        now, query = self.site.shelf.current(), parse_qsl(request.url.query)
        index = _index_of(request, now)
        if suffix_of(request) == "csv":
            form = {"for": "csv", "force": dict(query).get("force", "")}
            return self._hand_out(request, now, index, [pair for pair in query if pair[0] != "force"], form)
        listing, head = Listing.of(index, query), index.made.head
        if suffix_of(request) == "json":
            return as_json(listing_as_json(listing, dict(head.to_json())))
        found = listing.found
        return page(
            request, "list.html", listing=listing, head=head, found=found, rows=listing.rows(), short_name=short_name,
            said=sentence(head, found.people, found.at_stake, now.view.as_of), kept_off=kept_off(head),
            known_columns=now.view.columns, sortable=now.view.sortable, expected=_expected(index, listing),
            address=str(request.url), **frame(now),
        )  # fmt: skip

    def preview(self, request: Request) -> Response:
        """Show what a tool's file would hold: how many, and who is left out and why."""
        now, query = self.site.shelf.current(), parse_qsl(request.url.query)
        rest, form = [pair for pair in query if pair[0] != "for"], {"for": dict(query).get("for", "csv")}
        return self._hand_out(request, now, _index_of(request, now), rest, form, is_preview=True)

    def export(self, request: Request, form: dict[str, str]) -> Response:
        """Hand out those of a list who pass the filter of the address, and record it."""
        now = self.site.shelf.current()
        return self._hand_out(request, now, _index_of(request, now), parse_qsl(request.url.query), form)

    def _hand_out(
        self, request: Request, now: Held, index: Index, query: list[tuple[str, str]], form: dict[str, str],
        *, is_preview: bool = False,
    ) -> Response:  # fmt: skip
        view, head = now.view, index.made.head
        wanted, listing, forced = wanted_of(form.get("for", "csv")), Listing.of(index, query), form.get("force") == "yes"
        user = request.state.user
        if not user.may("exporter"):
            raise NotAllowed(
                say("Your token lets you look, not download. Ask whoever runs this page for one of role exporter.")
            )
        if form.get("view", view.key) != view.key:
            raise Changed(
                say("The lists have been made anew since you opened the page. Look at the new numbers, then download.")
            )
        if view.is_stale(view.workspace.today()) and not forced and not is_preview:
            raise StaleData(say("These lists are too old to act on: since then customers may have ordered, left, or asked "
                                "not to be contacted. Score again (`lapse score`), or say that you want the old one: the "
                                "box beside the button, or force=yes in the address."))  # fmt: skip
        if head.plan.is_off:
            raise SettingsError(head.summary)
        got = download(view, index, listing.asked, wanted)
        if is_preview:
            return page(request, "export.html", got=got, wanted=wanted, listing=listing, head=head, **frame(now))
        record(self.site.root, taken_now(user, view, head.plan.name, listing.asked, got, wanted=wanted, forced=forced))
        return attached(got.content, got.kind, got.name, got.rows)


def _index_of(request: Request, now: Held) -> Index:
    name = request.path_params["name"]
    now.view.list_named(name)
    return now.lists[name]


def _expected(index: Index, listing: Listing) -> Expected | None:
    """Return what contacting those selected is expected to do; None where nobody asked, or too many are selected."""
    asked: Any = listing.asked
    if asked.is_empty:
        return index.made.head.expected
    if listing.found.people > MOST_EXPECTED or (asked.budget is None and asked.contacts is None):
        return None
    customers, _ = index.view.frames(index.made, index.chosen(listing.found, "rank"))
    workspace = index.view.workspace
    settings = workspace.settings
    costs = campaign_costs(settings.value, workspace.list_rules().verdict.back_test)
    return expected_of(customers, costs, settings.value.acceptance_weight, rounds=ROUNDS, seed=settings.train.seed)
