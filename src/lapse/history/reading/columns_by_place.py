"""Texts whose cells are divided by white space or stand at fixed places: written anew as CSV, then read like any other."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

from lapse.core.source_settings import WHITESPACE, Reading
from lapse.history.reading.text_files import Text, opened

CELL = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|(\S+)')
SAMPLE = 1 << 20


def as_csv(text: Text, reading: Reading, temporary: Path) -> Text:
    """Return a text whose lines are divided as `reading` says, with commas; an empty line stays an empty line.

    With `delimiter: whitespace` any number of spaces and tabs divides two cells, and a cell in quotes may hold some: an
    empty cell must be written as one. With `widths` a cell is so many characters of the line, less the spaces around it;
    what stands beyond the last width is a cell too many, hence a broken line.
    """
    target = temporary.with_name(f"{temporary.name}.csv")
    with opened(text.path) as source, target.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        for raw in source:
            line = raw.decode("utf-8", errors="surrogateescape").removeprefix("\ufeff").rstrip("\r\n")
            cells = list(_by_whitespace(line) if reading.delimiter == WHITESPACE else _by_width(line, reading.widths or ()))
            if any(cells):
                writer.writerow(cells)
            else:
                out.write("\n")
    with target.open(encoding="utf-8", errors="replace") as written:
        return replace(text, path=target, head=written.read(SAMPLE), has_quotes=True)


def _by_whitespace(line: str) -> Iterator[str]:
    for match in CELL.finditer(line):
        yield match.group(2) if match.group(1) is None else match.group(1).replace('""', '"')


def _by_width(line: str, widths: Sequence[int]) -> Iterator[str]:
    if not line.strip():
        return
    ends = list(accumulate(widths, initial=0))
    for start, end in pairwise(ends):
        yield line[start:end].strip()
    if rest := line[ends[-1] :].strip():
        yield rest
