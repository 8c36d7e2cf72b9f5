"""What README.md lists exists: commands and their options, make targets, settings, the tree of rooms."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from lapse.cli import app
from lapse.core.settings import load_settings, parse_settings
from tests.project.imports import ROOT, SRC

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CLI: Any = typer.main.get_command(app)
SHOWN = re.findall(r"^\$ (.+?)(?:\s+#.*)?$", README, re.M) + re.findall(r"`([^`\n]+)`", README)
LAPSE = sorted({text[text.index("lapse ") :] for text in SHOWN if re.match(r"(\.venv/bin/)?lapse [a-z]", text)})
MAKE = sorted(set(re.findall(r"(?:`|\$ )make ([a-z-]+)", README + CONTRIBUTING)))


def test_there_are_commands_to_check() -> None:
    assert len(LAPSE) >= 12 and {"run", "test", "benchmark"} <= set(MAKE)


@pytest.mark.parametrize("line", LAPSE)
def test_a_command_and_its_options_exist(line: str) -> None:
    words = shlex.split(line.replace("…", "x"))[1:]
    if "&&" in words:
        words = words[: words.index("&&")]
    command = CLI.commands[words[0]]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words[1:] if word.startswith("--")} <= known
    places = sum(parameter.param_type_name == "argument" for parameter in command.params)
    values = [word for before, word in pairwise(words) if not word.startswith("-") and not before.startswith("--")]
    assert len(values) <= places, f"{line}: {values}"


@pytest.mark.parametrize("target", MAKE)
def test_a_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def test_the_settings_that_are_shown_are_read() -> None:
    plain = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    shown = YAML(typ="safe").load(re.sub(r"^   ", "", block, flags=re.M))
    for section, values in shown.items():
        nothing = (
            {"events": None, "feedback": None, "customers": None, "subscriptions": None} if section == "sources" else {}
        )
        plain[section] = {**plain[section], **nothing, **values}
    assert parse_settings(plain).sources.transactions.columns["customer_id"] == "CustomerID"
    for key in re.findall(r"-S ([a-z_.]+)=", README):
        value: Any = load_settings(ROOT / "params.yaml")
        for part in key.split("."):
            value = getattr(value, part)


def test_the_tree_names_every_room() -> None:
    tree = README[README.index("```text\nparams.yaml") :]
    rooms = {path.name for path in (SRC / "lapse").iterdir() if (path / "__init__.py").exists()}
    modules = {path.name for path in (SRC / "lapse").glob("*.py")} - {"__init__.py"}
    missing = {room for room in rooms if f"{room}/" not in tree} | {module for module in modules if module not in tree}
    assert not missing
    for folder in re.findall(r"^([a-z_]+)/ ", tree, re.M):
        assert (ROOT / folder).is_dir(), folder
