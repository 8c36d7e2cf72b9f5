"""What programs ask of the page: whether it runs, whether it has something to show, and the figures for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi.responses import PlainTextResponse, Response

from lapse.core.errors import LapseError
from lapse.night.prometheus import metrics_text
from lapse.web.site import Site
from lapse.web.view import NotFound

HEALTH, READY, METRICS = "/healthz", "/readyz", "/metrics"
FORMAT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Probes:
    """Answers the addresses for programs."""

    site: Site

    def health(self) -> Response:
        """Say that the page runs."""
        return PlainTextResponse("runs\n")

    def ready(self) -> Response:
        """Say whether there are lists to show; 503 while there are none. Nothing of the workspace is told."""
        try:
            self.site.shelf.current()
        except (LapseError, OSError):
            return PlainTextResponse("nothing to show yet\n", status_code=503)
        return PlainTextResponse("ready\n")

    def metrics(self) -> Response:
        """Return the figures of lapse.prom as they are now."""
        archive = self.site.shelf.archive
        if archive is None:
            raise NotFound("Figures for Prometheus are those of an archive of `lapse score`, and there is none here.")
        return PlainTextResponse(metrics_text(archive.folder), media_type=FORMAT)
