"""Pages that repeat the code are written by the code: `python -m lapse.pages` in the project's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from lapse.core import markdown
from lapse.core.errors import SettingsError
from lapse.core.files import write_text
from lapse.core.process import run
from lapse.core.settings import load_settings
from lapse.core.tables.contract import Table
from lapse.core.tables.dictionary import ALL
from lapse.core.tables.sources import SOURCES, TRANSACTIONS
from lapse.features.catalogue import FAMILIES
from lapse.features.causes import CAUSES
from lapse.features.family import Family, Inputs
from lapse.features.own import own_features
from lapse.history.profile import CONTRACT_COLUMNS
from lapse.night.manifest import Failure, Manifest
from lapse.outreach.publish import PUBLISHED_REASONS

GENERATED = "<!-- Written by `python -m lapse.pages`; change the code, not this page. -->"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
EXAMPLE = Inputs(
    windows=(30, 90, 180),
    given=frozenset({*TRANSACTIONS.names, *SOURCES, *CONTRACT_COLUMNS, "comment", "time_of_day"}),
    event_types=("<event>",),
    responses={"<name>": ("<response>", "<outreach>")},
    service={"<trouble>": ("<event>",)},
    open_cases={"<case>": ("<opened>", "<closed>")},
    attributes={"<number>": (), "<attribute>": ("<level>",)},
    plans=("<plan>",),
)


def data_dictionary(own: Sequence[Family] = ()) -> str:
    """Return data/README.md: every table with its columns, every feature with its entry."""
    sections = [
        "# Data dictionary", GENERATED,
        "Every table of the pipeline: what one row is, what identifies it, what each column means. Source tables "
        "(`data/validated`) are what a delivery is turned into; columns marked *required* must be mapped in "
        "`params.yaml`. Amounts are in the delivery's own currency.",
        *(_table(table) for table in ALL),
        "## In a database", "`lapse publish` makes views: `lapse_scores` is scores without its reasons, `lapse_lists` is "
        "listed for every list, with its name in front, `lapse_crr` is crr; cutoff_date is called as_of there.",
        _table(PUBLISHED_REASONS),
        "## Features", "One float64 column each in `data/features/<cutoff_date>.parquet`; windows are those of "
        "`features.windows` in `params.yaml`, event types those that the data hold. *Risk* says which direction of the "
        "feature goes with churn where it is given as a reason. *Set* says with which `features.set` a model learns from "
        "it: `core` (with `all`, too), or `all`, where `core` switches it off; `words`: it is only printed in the words of "
        "others. "
        "The core holds what looks at no window, orders and spend in every window, and what else the entries say in every "
        "second window, counted from the longest (below, of 30, 90 and 180 days: 30 and 180).",
        "### Causes", "What a reason is about, and its code (`reason_1_code`). A customer's reasons are of different "
        "causes; a cause's strength is the sum of the contributions of its features.",
        markdown.table(("code", "meaning"), [(f"`{code}`", meaning) for code, meaning in CAUSES.items()]),
        *(_family(family, always=family in own) for family in (*FAMILIES, *own)),
    ]  # fmt: skip
    return "\n\n".join(sections) + "\n"


def own_families(root: Path) -> Sequence[Family]:
    """Return a workspace's own families of features, in Python and in SQL."""
    families: Sequence[Family] = own_features(root, load_settings(root / "params.yaml").features.sql).families
    return families


def manifest_schema() -> str:
    """Return data/manifest.schema.json: what a manifest of `lapse score`, or its failed.json, holds."""
    schema = TypeAdapter(Manifest | Failure).json_schema(mode="serialization")
    return json.dumps({"$schema": DIALECT, "title": "manifest.json or failed.json", **schema}, indent=2) + "\n"


def stage_table(dvc_yaml: Path) -> str:
    """Return pipelines/README.md: what each stage reads and writes."""
    from ruamel.yaml import YAML

    stages: dict[str, Any] = YAML(typ="safe").load(dvc_yaml.read_text(encoding="utf-8"))["stages"]
    rows = []
    for name, stage in stages.items():
        first_line = (dvc_yaml.parent / "pipelines" / f"{name}.py").read_text(encoding="utf-8").splitlines()[0]
        reads = [dep for dep in stage["deps"] if not dep.endswith(".py") and not dep.startswith("src/")]
        writes = [_name_of(out) for out in [*stage["outs"], *stage.get("metrics", [])]]
        rows.append((f"`{name}`", _codes(map(_name_of, stage.get("params", []))), _codes(reads), _codes(writes),
                     first_line.strip('"').split(": ", 1)[1]))  # fmt: skip
    head = "A stage, its file here, its section in `params.yaml` and its output folder bear the same name. `dvc repro NAME` "
    return "\n\n".join([
        "# Stages", GENERATED, head + "runs one and what it needs.",
        markdown.table(("stage", "params", "reads", "writes", "what it does"), rows),
    ]) + "\n"  # fmt: skip


def _name_of(entry: str | Mapping[str, Any]) -> str:
    """Return the path or param of an entry of dvc.yaml, which may stand above options of its own."""
    return entry if isinstance(entry, str) else next(iter(entry))


def _table(table: Table) -> str:
    key = ", ".join(f"`{name}`" for name in table.key) or "none"
    rows = [
        (f"`{c.name}`", c.type, c.unit, c.meaning + (" *required*" if c.required and table.name in SOURCES else ""), c.nulls)
        for c in table.columns
    ]
    head = f"## {table.name}\n\n`{table.path}`: {table.grain}. Key: {key}."
    return f"{head}\n\n{markdown.table(('column', 'type', 'unit', 'meaning', 'null'), rows)}"


def _family(family: Family, *, always: bool) -> str:
    rows = [
        (
            f"`{f.name}`",
            f.entry.unit,
            f.entry.meaning,
            f.entry.nulls,
            f.entry.risk,
            f"`{f.entry.cause}`",
            "words" if f.entry.for_words else "core" if always or f.core else "all",
        )
        for f in family.features(EXAMPLE)
    ]
    head = ("feature", "unit", "meaning", "null", "risk", "cause", "set")
    return f"### {family.name}: {family.signal}\n\n{markdown.table(head, rows)}"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> None:
    """Write the generated pages of the project in the current folder anew."""
    if not Path("dvc.yaml").exists():
        raise SettingsError("dvc.yaml is not there. Run this in the project's folder.")
    write_text(Path("data/README.md"), data_dictionary(own_families(Path())))
    write_text(Path("data/manifest.schema.json"), manifest_schema())
    write_text(Path("pipelines/README.md"), stage_table(Path("dvc.yaml")))


if __name__ == "__main__":
    run(main)
