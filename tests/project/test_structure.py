"""The house rules, held by tests: stages know what they run, imports run downwards, generated pages are fresh."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lapse import pages
from lapse.settings import Settings, load_settings
from tests.project.imports import ROOT, SRC, import_closure, imported_modules

STAGES: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
FLOORS = (
    ("errors", "files", "kept", "windows", "tables", "delivery", "settings", "engine", "spark", "pictures", "html"),
    ("history", "snapshots", "labels", "retention"),
    ("features", "model"),
    ("scoring",),
    ("outreach",),
    ("pages",),
    ("workspace",),
    ("cli",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Within a floor, who may import whom: everything else on the same floor is sideways, hence refused.
SIDEWAYS = {("delivery", "tables"), ("settings", "delivery"), ("settings", "tables"), ("settings", "windows"), ("settings", "errors"), ("tables", "errors"), ("windows", "errors"),
            ("engine", "errors"), ("engine", "files"), ("kept", "files"), ("engine", "spark"), ("spark", "errors"), ("pictures", "files"), ("labels", "snapshots"), ("retention", "history"),
            ("snapshots", "history"), ("labels", "history"), ("model", "features")}  # fmt: skip
MODULES = sorted(SRC.rglob("*.py"))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_file_it_runs(name: str) -> None:
    script = ROOT / "pipelines" / f"{name}.py"
    runs = {str(path.relative_to(ROOT)) for path in import_closure(script)} | {f"pipelines/{name}.py"}
    declared = {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")}
    assert runs - declared == set(), f"add to deps of {name} in dvc.yaml"
    assert declared - runs == set(), f"remove from deps of {name} in dvc.yaml"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_file_is_one_short_main(name: str) -> None:
    tree = ast.parse((ROOT / "pipelines" / f"{name}.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == ["main"]
    assert (functions[0].end_lineno or 0) - functions[0].lineno < 25
    assert not [node for node in ast.walk(functions[0]) if isinstance(node, ast.If | ast.While | ast.Try)]
    assert STAGES[name]["cmd"] == f"python pipelines/{name}.py"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_names_the_sections_it_reads(name: str) -> None:
    text = (ROOT / "pipelines" / f"{name}.py").read_text(encoding="utf-8")
    read = set(re.findall(r"settings\.(\w+)|load_settings\(\)\.(\w+)", text))
    sections = {section for pair in read for section in pair if section in Settings.model_fields}
    declared = {str(param).split(".")[0] for param in STAGES[name].get("params", [])}
    assert declared == sections


def test_every_stage_file_is_a_stage() -> None:
    assert {path.stem for path in (ROOT / "pipelines").glob("*.py")} == set(STAGES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_run_downwards(path: Path) -> None:
    own = room_of(".".join(path.relative_to(SRC).with_suffix("").parts))
    if own in ("", "__init__"):
        return
    for module in imported_modules(path):
        room = room_of(module)
        if room in ("", own) or room not in FLOOR_OF:
            continue
        lower = FLOOR_OF[room] < FLOOR_OF[own]
        assert lower or (own, room) in SIDEWAYS, f"{own} may not import {room}"


def test_only_the_registry_knows_mlflow() -> None:
    knowing = {
        path.name for path in MODULES if re.search(r"^\s*(import|from) mlflow", path.read_text(encoding="utf-8"), re.M)
    }
    assert knowing == {"registry.py", "served.py"}


def test_only_the_engine_connects() -> None:
    connecting = {
        path.name
        for path in MODULES
        if re.search(r"duckdb\.connect|ibis\.\w+\.connect|SparkSession\.builder", path.read_text(encoding="utf-8"))
    }
    # databases.py reads the DuckDB files of others, in a database of its own; spark.py is behind the engine's door.
    assert connecting == {"engine.py", "databases.py", "spark.py"}


def test_spark_is_asked_for_by_the_engine_alone() -> None:
    asking = {path.name for path in MODULES if re.search(r"pyspark|lapse\.spark", path.read_text(encoding="utf-8"))}
    assert asking == {"engine.py", "spark.py"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_files_can_be_read_in_a_sitting(path: Path) -> None:
    # tables.py is one long list on purpose: the single place.
    most = 450 if path.name == "tables.py" else 360
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("data/README.md", pages.data_dictionary(pages.own_families(ROOT))),
        ("pipelines/README.md", pages.stage_table(ROOT / "dvc.yaml")),
    ],
)
def test_generated_pages_are_fresh(page: str, text: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == text, "run `python -m lapse.pages`"


def test_every_knob_has_a_comment() -> None:
    lines = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()
    assert load_settings(ROOT / "params.yaml")
    for number, line in enumerate(lines):
        if re.match(r"^[a-z_]+:", line):
            above = lines[number - 1] if number else ""
            assert "#" in line or above.startswith("#") or "#" in lines[number + 1], line


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-spark.lock"])
def test_a_lock_names_no_host(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text and "--hash=sha256:" in text


def test_every_command_of_the_command_line_has_help_and_is_in_the_readme() -> None:
    from lapse.cli import app

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    assert len(names) >= 3
    for name, command in zip(names, app.registered_commands, strict=True):
        assert command.callback is not None and command.callback.__doc__, name
        assert f"lapse {name}" in readme, f"lapse {name} is not in README.md"
