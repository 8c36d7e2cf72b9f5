"""The same bytes in, the same bytes out: every stage again and again, under load, with 1, 2 and 4 threads."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from lapse.cli import app
from tests.conftest import ROOT

ROUNDS = int(os.environ.get("LAPSE_REPEATS", "20"))
THREADS = (1, 2, 4)
STAGES = ("validate", "activity", "snapshots", "features", "labels", "retention", "train", "evaluate", "score", "lists")
RUN = """
import sys
from lapse.core import engine
from lapse.workspace import Workspace
begin = engine.DuckEngine.__init__
engine.DuckEngine.__init__ = lambda self, spill, threads=None: begin(self, spill, int(sys.argv[1]))
for stage in sys.argv[2:]:
    getattr(Workspace(), stage)()
"""
UNLIKE = ("mlflow.db", "mlartifacts")
"""MLflow's records say when they were made."""


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("LAPSE_TESTS") != "long", reason="minutes to an hour, by the machine: LAPSE_TESTS=long")
def test_every_stage_gives_the_same_bytes(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    made = CliRunner().invoke(app, ["simulate", str(shop), "--customers", "500", "--seed", "7"], catch_exceptions=False)
    assert made.exit_code == 0, made.output
    yaml = YAML()
    params = yaml.load((shop / "params.yaml").read_text(encoding="utf-8"))
    params["sources"]["folder"] = os.path.relpath(shop, tmp_path / "0")
    params["snapshots"] |= {"max_cutoffs": 10}
    params["features"] |= {"windows": [30, 90]}
    params["evaluate"] |= {"origins": 1, "bootstrap_rounds": 20}
    params["train"] |= {"trees": 20}
    with (shop / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)

    def run(number: int) -> dict[str, str]:
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "pipelines").symlink_to(ROOT / "pipelines")
        shutil.copy(shop / "params.yaml", folder)
        threads = str(THREADS[number % len(THREADS)])
        done = subprocess.run(
            [sys.executable, "-c", RUN, threads, *STAGES], cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": threads, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for base in ("data", "models") for path in sorted((folder / base).rglob("[!.]*"))
            if path.is_file() and path.name not in UNLIKE
        }  # fmt: skip

    # As many at once as there are thread counts: none of them has the machine to itself.
    with ThreadPoolExecutor(len(THREADS)) as pool:
        outcomes = list(pool.map(run, range(ROUNDS)))
    unlike = {
        name
        for outcome in outcomes
        for name in outcomes[0].keys() | outcome.keys()
        if outcomes[0].get(name) != outcome.get(name)
    }
    assert not unlike, f"{sorted(unlike)} differ between {ROUNDS} runs of the same delivery"
    assert len(outcomes[0]) > 30
