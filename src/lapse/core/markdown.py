"""Markdown as the generated pages, the model card and the MLflow record have it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lapse.core.logging import printable


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar in a delivered name does not end its cell.

    Cells may be markdown: what comes from a delivery goes through `plain` first.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def plain(text: str) -> str:
    """Return a delivered text that markdown shows as it is: no link, picture, tag or line of its own comes of it."""
    visible = printable(text).replace("\\", "\\\\")
    escaped = re.sub(r"([`*_{}\[\]()#!~])", r"\\\1", visible.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    # A bare address becomes a link on most hosts.
    return escaped.replace("://", ":&#47;&#47;").replace("www.", "www&#46;").replace("@", "&#64;")


def bullets(lines: Iterable[str]) -> str:
    """Return a bulleted list."""
    return "\n".join(f"- {line}" for line in lines)
