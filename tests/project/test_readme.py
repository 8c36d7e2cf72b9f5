"""What README.md shows is true: commands and their options exist, settings are read, figures are those of the reports."""

from __future__ import annotations

import re
import shlex
import tomllib
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from ruamel.yaml import YAML

from lapse.cli import app
from lapse.core.files import read_json
from lapse.core.settings import load_settings
from lapse.evaluation import evaluate
from lapse.retention.rate import PeriodRetention
from lapse.retention.rate import print_summary as print_retention
from lapse.setup.init import init
from lapse.value import value_report
from lapse.workspace import Workspace
from tests.project.imports import ROOT, SRC

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CLI: Any = typer.main.get_command(app)
SHOWN = re.findall(r"^\$ (.+?)(?:\s+#.*)?$", README, re.M) + re.findall(r"`([^`\n]+)`", README)
LAPSE = sorted({text[text.index("lapse ") :] for text in SHOWN if re.match(r"(\.venv/bin/)?lapse [a-z]", text)})
DVC = sorted({text for text in SHOWN if text.startswith("dvc ")})
MAKE = sorted(set(re.findall(r"(?:`|\$ )make ([a-z-]+)", README + CONTRIBUTING)))


def test_there_are_commands_to_check() -> None:
    assert len(LAPSE) >= 12 and len(DVC) >= 4 and {"run", "test", "benchmark"} <= set(MAKE)


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


@pytest.mark.parametrize("line", DVC)
def test_a_command_of_dvc_exists(line: str) -> None:
    from dvc.cli import parse_args

    assert parse_args(shlex.split(line)[1:]).func


def test_what_is_installed_and_set_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"lapse\[([a-z]+)\]", README)) <= set(extras)
    code = "".join(path.read_text(encoding="utf-8") for path in SRC.rglob("*.py"))
    assert all(f'"{name}"' in code for name in set(re.findall(r"LAPSE_[A-Z_]+", README)))


@pytest.mark.parametrize("target", MAKE)
def test_a_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def test_the_settings_that_are_shown_read_a_delivery(tmp_path: Path) -> None:
    init(tmp_path, None, None)
    yaml = YAML()
    params = yaml.load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    for section, values in yaml.load(re.sub(r"^   ", "", block, flags=re.M)).items():
        params[section] |= values
    yaml.dump(params, tmp_path / "params.yaml")
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(300)]
    rows = [
        (f"{'C' if i % 20 == 7 else ''}{i}", f"p{i % 9}", i % 3 + 1, "2.50", f"c{i % 40}", day) for i, day in enumerate(days)
    ]
    names = ["InvoiceNo", "StockCode", "Quantity", "UnitPrice", "CustomerID", "InvoiceDate"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "data/delivery/invoices.csv", index=False)
    Workspace(tmp_path).check()
    read = pd.read_parquet(tmp_path / "data/validated/transactions.parquet")
    assert len(read) == 300 and read["is_return"].sum() == 15
    assert sorted(set(read["amount"].astype(float))) == [2.5, 5, 7.5]


def test_the_keys_that_are_shown_are_settings() -> None:
    for key in [*re.findall(r"-S ([a-z_.]+)=", README), *re.findall(r"`((?:features|sources|snapshots)\.[a-z_]+)`", README)]:
        value: Any = load_settings(ROOT / "params.yaml")
        for part in key.split("."):
            value = getattr(value, part)


def test_the_output_that_is_shown_is_what_the_stages_print(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="lapse")
    evaluate.print_summary(read_json(ROOT / "data/reports/metrics.json"))
    value_report.print_summary(read_json(ROOT / "data/reports/value.json"))
    months = read_json(ROOT / "data/reports/retention.json")["months"]
    derived = ("crr", "strict_retention")
    print_retention([PeriodRetention(**{name: value for name, value in months[-1].items() if name not in derived})])
    printed = [f"{record.name.removeprefix('lapse.')}: {record.getMessage()}" for record in caplog.records]
    shown = re.findall(r"^(?:evaluate|retention): .*$", README, re.M)
    assert len(shown) > 8
    for line in shown:  # the README leaves out some columns of the table
        assert any(set(line.split()) <= set(one.split()) for one in printed), line


def test_the_tree_names_every_room() -> None:
    tree = README[README.index("```text\nparams.yaml") :]
    rooms = {path.name for path in (SRC / "lapse").iterdir() if (path / "__init__.py").exists()}
    modules = {path.name for path in (SRC / "lapse").glob("*.py")} - {"__init__.py"}
    missing = {room for room in rooms if f"{room}/" not in tree} | {module for module in modules if module not in tree}
    assert not missing
    for folder in re.findall(r"^([a-z_]+)/ ", tree, re.M):
        assert (ROOT / folder).is_dir(), folder
