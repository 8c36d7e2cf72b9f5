"""The page of stage retention_report: for whoever looks after customers, and open without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lapse.core.files import write_text
from lapse.core.html import rendered
from lapse.core.settings import Settings
from lapse.retention_report.cost_section import cost_section
from lapse.retention_report.section import PageSection
from lapse.retention_report.segment_section import headline, segment_sections
from lapse.retention_report.stage import Reported
from lapse.retention_report.worth_section import worth_sections

TEMPLATE = Path(__file__).with_name("page.html")


def write_page(reported: Reported, why: Sequence[PageSection], path: Path, settings: Settings) -> None:
    """Write the page, with the sections on why customers leave at its end; what stands in the data is escaped."""
    bottom_line, lifetime = worth_sections(reported, settings)
    sections = [bottom_line, *segment_sections(reported, settings), cost_section(reported, settings), lifetime, *why]
    write_text(path, rendered(
        TEMPLATE.read_text(encoding="utf-8"),
        about=f"{len(reported.customers):,} customers as of {reported.as_of}, of whom "
              f"{int(reported.customers['is_active'].sum()):,} are active.",
        headline=headline(reported), sections=sections,
    ))  # fmt: skip
