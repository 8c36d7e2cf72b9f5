"""The pages beside the lists: a customer, how far to trust the model, who stays, who took what, the reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from lapse.core.files import intact, read_json
from lapse.core.language import say, words
from lapse.evaluation.wording import NOT_FOR, grade_rows, headline
from lapse.night.monitored import PAGE, Monitored
from lapse.outreach.about import came_true
from lapse.outreach.verdict import Verdict
from lapse.web.answers import as_csv, as_json, page, suffix_of
from lapse.web.charts import bars_of, line_of
from lapse.web.customer import customer_of
from lapse.web.downloads import read_record
from lapse.web.site import NotAllowed, Site, frame
from lapse.web.view import NotFound

REPORTS = {
    "report.html": "The whole evaluation", "usability.html": "What was found in the data",
    "retention.html": "Who stays: every month, segment and cohort", "retention_report.html": "The retention report",
}  # fmt: skip
"""Pages that stages wrote, shown as they are: they bear their style within, and no script is run."""
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)


@dataclass(frozen=True)
class OtherPages:
    """Answers the addresses that are no list's."""

    site: Site

    def find(self, request: Request) -> Response:
        """Lead to the page of a customer."""
        who = request.query_params.get("id", "").strip()
        return RedirectResponse(f"/customers/{quote(who, safe='')}" if who else "/", status_code=303)

    def customer(self, request: Request) -> Response:
        """Show one customer: on which list or why not, reasons, months, past risks."""
        now = self.site.shelf.current()
        who, suffix = request.path_params["customer_id"], ""
        place = now.view.place_of(who)
        if place is None and (suffix := suffix_of(request)):
            who = who.removesuffix(f".{suffix}")
            place = now.view.place_of(who)
        if place is None:
            raise NotFound(
                say(
                    "No customer has the id {who}. It is written as in the delivery, capitals and noughts included.",
                    who=repr(who),
                )
            )
        found = customer_of(now.view, place, self.site.shelf.archive)
        if suffix == "json":
            return as_json(asdict(found))
        if suffix == "csv":
            return as_csv([{"what": name, "value": value} for name, value in found.facts.items()], "customer")
        months, risks = found.months, [one for one in found.past if one["churn_risk"] is not None]
        orders = bars_of(say("Orders by month"), [one["month"] for one in months], [one["orders"] for one in months])
        risk = line_of(say("Churn risk at past scorings, in per cent"), [one["day"] for one in risks],
                       [100 * one["churn_risk"] for one in risks], unit="%")  # fmt: skip
        return page(request, "customer.html", customer=found, orders=orders if months else None,
                    risk=risk if len(risks) > 1 else None, **frame(now))  # fmt: skip

    def model(self, request: Request) -> Response:
        """Say how far the model can be trusted, in a marketer's words."""
        now, paths = self.site.shelf.current(), self.site.shelf.current().view.workspace.paths
        told: dict[str, Any] | None = None
        if paths.metrics.exists():
            metrics, verdict = read_json(paths.metrics), Verdict.read(paths.metrics)
            tried, windows = verdict.back_test, now.view.workspace.windows
            then = tried.last_time(came_true(windows)) if tried else None
            with intact(paths.metrics):
                told = {
                    "grade": metrics["grade"]["grade"], "meaning": metrics["grade"]["meaning"],
                    "because": metrics["grade"]["because"], "caution": verdict.caution, "headline": headline(metrics),
                    "last_time": words(then) if then else None, "not_for": NOT_FOR,
                    "aspects": grade_rows(metrics["grade"]), "version": metrics["final_model"]["version"],
                    "scored_by": next(iter(now.view.lists.values())).head.model_version,
                }  # fmt: skip
        archive = self.site.shelf.archive
        since = None if archive is None else Monitored.of(archive.folder)
        if suffix_of(request) == "json":
            return as_json(None if told is None else {**told, "since": since.model_dump() if since else None})
        if suffix_of(request) == "csv":
            rows = [] if told is None else [{"aspect": one, "found": found, "at_most": letter}
                                            for one, found, letter, _ in told["aspects"]]  # fmt: skip
            return as_csv(rows, "model")
        return page(
            request,
            "model.html",
            model=told,
            since=since,
            reports=self._reports("report.html", "usability.html"),
            **frame(now),
        )

    def retention(self, request: Request) -> Response:
        """Show who stays, month by month."""
        now = self.site.shelf.current()
        path = now.view.workspace.paths.reports / "retention.json"
        told = read_json(path) if path.exists() else None
        months = [one for one in (told or {}).get("months", []) if one["crr"] is not None]
        if suffix_of(request) == "json":
            return as_json(told)
        if suffix_of(request) == "csv":
            return as_csv(months, "retention")
        strict = [one["strict_retention"] for one in months]
        chart = line_of(say("Of the customers active at the start of each month, the share still active at its end, in per "
                            "cent"),
                        [one["period_start"][:7] for one in months], strict, unit="%",
                        least=max(0.0, min(strict, default=0.0) - 5))  # fmt: skip
        reports = self._reports("retention_report.html", "retention.html")
        return page(request, "retention.html", told=told, months=months, chart=chart if months else None, reports=reports,
                    **frame(now))  # fmt: skip

    def exports(self, request: Request) -> Response:
        """Show who took which list, when, and how many."""
        if not request.state.user.may("admin"):
            raise NotAllowed(say("Only a token of role admin shows who took what."))
        rows = read_record(self.site.root)
        if suffix_of(request):
            return as_json(rows) if suffix_of(request) == "json" else as_csv(rows, "exports")
        return page(request, "exports.html", rows=rows)

    def report(self, request: Request) -> Response:
        """Show a report that a stage wrote, as it is."""
        name = request.path_params["name"]
        path = self.site.shelf.current().view.workspace.paths.reports / name
        if name == PAGE and self.site.shelf.archive is not None:
            path = self.site.shelf.archive.folder / PAGE
        if name not in (*REPORTS, PAGE) or not path.is_file():
            raise NotFound(f"There is no report {name!r}, or no stage has written it yet.")
        return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})

    def _reports(self, *names: str) -> list[tuple[str, str]]:
        reports = self.site.shelf.current().view.workspace.paths.reports
        return [(name, REPORTS[name]) for name in names if (reports / name).is_file()]
