"""The house rules, held by tests: stages know what they run, imports run downwards, generated pages are fresh."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lapse import pages
from lapse.core.settings import Settings, load_settings
from tests.project.imports import ROOT, SRC, dependency, file_of, imported_modules, stage_files, stage_methods

STAGES: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
FLOORS = (
    ("core",),
    ("history", "simulation"),
    ("snapshots",),
    ("decline",),
    ("labels", "comeback"),
    ("usability",),
    ("features", "retention"),
    ("model",),
    ("value",),
    ("evaluation",),
    ("registry",),
    ("scoring",),
    ("retention_report",),
    ("outreach",),
    ("workspace",),
    ("night",),
    ("web",),
    ("pages",),
    ("setup",),
    ("commands",),
    ("cli",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(SRC.rglob("*.py"))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_every_file_it_runs(name: str) -> None:
    runs = {dependency(path) for path in stage_files(name)}
    declared = {dep for dep in STAGES[name]["deps"] if dep.startswith("src/")}
    assert declared == runs, "run `python -m tests.project.imports`"
    assert f"pipelines/{name}.py" in STAGES[name]["deps"]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_file_calls_the_workspace(name: str) -> None:
    tree = ast.parse((ROOT / "pipelines" / f"{name}.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == ["main"]
    assert ast.unparse(functions[0].body[-1]) == f"Workspace().{name}()"
    assert STAGES[name]["cmd"] == f"python pipelines/{name}.py"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_names_the_sections_it_reads(name: str) -> None:
    text = "\n".join(ast.unparse(method) for method in stage_methods(name))
    sections = set(re.findall(r"settings\.(\w+)", text)) & set(Settings.model_fields)
    params = STAGES[name].get("params", [])
    if params == [{"params.yaml": None}]:
        assert any(not field.is_required() for section, field in Settings.model_fields.items() if section in sections), (
            "only a section that may be absent asks for the whole file"
        )
        return
    assert {str(param).split(".")[0] for param in params} == sections


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_names_no_optional_key(name: str) -> None:
    """DVC refuses a stage whose params are absent, and an optional key may be absent from params.yaml."""
    for param in STAGES[name].get("params", []):
        if param == {"params.yaml": None}:  # the whole file
            continue
        model: Any = Settings
        for part in str(param).split("."):
            assert model.model_fields[part].is_required(), f"{param}: name the section above it"
            model = model.model_fields[part].annotation


def test_every_stage_file_is_a_stage() -> None:
    assert {path.stem for path in (ROOT / "pipelines").glob("*.py")} == set(STAGES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_run_downwards(path: Path) -> None:
    own = room_of(".".join(path.relative_to(SRC).with_suffix("").parts))
    if own in ("", "__init__"):
        return
    for module in imported_modules(path):
        room = room_of(module)
        if room not in ("", own) and file_of(module):
            assert FLOOR_OF[room] < FLOOR_OF[own] or room == "__init__", f"{own} may not import {room}"


def test_no_module_imports_itself_through_others() -> None:
    names = {path: ".".join(path.relative_to(SRC).with_suffix("").parts) for path in MODULES}
    imports = {
        path: {file for name in imported_modules(path) if (file := file_of(name)) and file != path} for path in MODULES
    }
    waiting = dict(imports)
    while free := [path for path, needs in waiting.items() if not needs & set(waiting)]:
        for path in free:
            del waiting[path]
    assert [names[path] for path in waiting] == [], "these import one another in a circle, or need such a circle"


def test_only_the_registry_knows_mlflow() -> None:
    knowing = {
        path.name for path in MODULES if re.search(r"^\s*(import|from) mlflow", path.read_text(encoding="utf-8"), re.M)
    }
    assert knowing == {"mlflow_registry.py", "served.py"}


def test_only_the_engine_connects() -> None:
    connecting = {
        path.name
        for path in MODULES
        if re.search(r"duckdb\.connect|ibis\.\w+\.connect|SparkSession\.builder", path.read_text(encoding="utf-8"))
    }
    # databases.py reads the DuckDB files of others, in a database of its own; spark.py is behind the engine's door.
    assert connecting == {"engine.py", "databases.py", "spark.py"}


def test_spark_is_asked_for_by_the_engine_alone() -> None:
    asking = {path.name for path in MODULES if re.search(r"pyspark|lapse\.core\.spark", path.read_text(encoding="utf-8"))}
    assert asking == {"engine.py", "spark.py"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_files_can_be_read_in_a_sitting(path: Path) -> None:
    # The workspace has a short method for every stage.
    most = {"workspace.py": 420}.get(path.name, 360)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("data/README.md", pages.data_dictionary(pages.own_families(ROOT))),
        ("data/manifest.schema.json", pages.manifest_schema()),
        ("pipelines/README.md", pages.stage_table(ROOT / "dvc.yaml")),
    ],
)
def test_generated_pages_are_fresh(page: str, text: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == text, "run `python -m lapse.pages`"


def test_every_setting_has_a_comment() -> None:
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
