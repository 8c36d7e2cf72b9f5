"""lapse init as a stranger meets it: their own folder, their own columns, mistakes included."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lapse.core.errors import LapseError, SettingsError
from lapse.core.settings import load_settings
from lapse.setup.init import DELIVERY, PRESETS, STATE, init
from tests.end_to_end.conftest import in_folder

SOURCES = sorted(path.name.removesuffix(".yaml") for path in PRESETS.iterdir() if path.name.endswith(".yaml"))


@pytest.mark.parametrize("source", [None, *SOURCES])
def test_every_known_source_gives_params_that_are_read(source: str | None, tmp_path: Path) -> None:
    init(tmp_path / "shop", source, None)
    assert load_settings(tmp_path / "shop" / "params.yaml")
    text = (tmp_path / "shop" / "dvc.yaml").read_text(encoding="utf-8")
    assert "src/lapse" not in text and text.count(f"- {STATE}\n") == len(YAML(typ="safe").load(text)["stages"])


def test_what_was_edited_is_kept(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    init(shop, None, None)
    (shop / "pipelines" / "score.py").write_text("# mine\n", encoding="utf-8")
    (shop / "pipelines" / "train.py").unlink()
    params = (shop / "params.yaml").read_text(encoding="utf-8").replace("seed: 7", "seed: 8")
    (shop / "params.yaml").write_text(params, encoding="utf-8")
    said = init(shop, None, None)
    assert "pipelines/score.py: kept, because you edited it; the new one is beside it as pipelines/score.py.new" in said
    assert "written: pipelines/" in said
    assert (shop / "params.yaml").read_text(encoding="utf-8") == params


def test_an_older_workspace_hears_what_changed(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    init(shop, None, None)
    state = (shop / STATE).read_text(encoding="utf-8")
    (shop / STATE).write_text(state.replace('"lapse": "0.1.0"', '"lapse": "0.0.9"'), encoding="utf-8")
    said = init(shop, None, None)
    assert said[0] == "lapse 0.0.9 -> 0.1.0:" and said[1].startswith("- ")


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_a_workspace_is_ready_for_experiments(tmp_path: Path) -> None:
    said = init(tmp_path / "shop", None, None)
    assert "git: first commit, which experiments need (dvc exp run)" in said
    assert (
        git(tmp_path / "shop", "log", "--format=%s") == "lapse init\n" and git(tmp_path / "shop", "status", "--short") == ""
    )
    assert "path: data/delivery" in (tmp_path / "shop" / DELIVERY).read_text(encoding="utf-8")
    assert not [line for line in init(tmp_path / "shop", None, None) if line.startswith("git: ")]


def test_in_a_repository_of_ones_own_nothing_is_committed(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    said = init(tmp_path / "shop", None, "/exports/today")
    assert "git: commit what changed before the first experiment: git add -A . && git commit" in said
    assert not (tmp_path / "shop" / DELIVERY).exists(), "a delivery elsewhere is found from everywhere"


@pytest.mark.slow
def test_an_experiment_in_a_copy_finds_the_delivery(tmp_path: Path) -> None:
    in_folder(tmp_path, "lapse", "init", "shop")
    shop = tmp_path / "shop"
    rows = [f"c{i % 40},2023-{1 + i % 12:02}-{1 + i % 28:02},{i % 50}.5" for i in range(2_000)]
    (shop / "data" / "delivery" / "transactions.csv").write_text("\n".join(["customer_id,ordered_at,amount", *rows]) + "\n")
    in_folder(shop, "dvc", "exp", "run", "validate", "-S", "churn.horizon_days=60")
    copied = in_folder(shop, "dvc", "exp", "run", "--temp", "validate", "-S", "churn.horizon_days=61")
    assert "2,000 rows in" in copied.stdout + copied.stderr
    in_folder(shop, "dvc", "exp", "run", "--queue", "validate", "-S", "churn.horizon_days=62")
    shown = in_folder(shop, "dvc", "exp", "show", "--only-changed")
    assert "churn.horizon_days" in shown.stdout
    in_folder(shop, "dvc", "metrics", "diff")


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Did you mean 'online_retail'"):
        init(tmp_path / "shop", "online-retail", None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("mine")
    with pytest.raises(LapseError, match="not empty"):
        init(tmp_path / "full", None, None)


def test_a_strangers_csv(tmp_path: Path) -> None:
    in_folder(tmp_path, "lapse", "init", "shop")
    shop = tmp_path / "shop"
    missing = in_folder(shop, "lapse", "check", check=False)
    assert missing.returncode == 3 and "transactions.csv is not there" in missing.stderr
    rows = [f"c{i % 40},2023-{1 + i % 12:02}-{1 + i % 28:02},{i % 50}.5" for i in range(2_000)]
    (shop / "data" / "delivery" / "transactions.csv").write_text("\n".join(["customer_id,ordered_at,amount", *rows]) + "\n")
    checked = in_folder(shop, "lapse", "check", check=False)
    assert "40 customers" in checked.stdout and "Traceback" not in checked.stderr
    assert (shop / "data" / "reports" / "usability.html").exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([f"only,2023-{1 + i // 28:02}-{1 + i % 28:02},5" for i in range(300)], "churners or stayers"),
        ([f"c{i},2023-01-{1 + i % 20:02},5" for i in range(400)], "fitting, calibrating and testing need 3"),
    ],
    ids=["one customer only", "a history shorter than the windows"],
)
def test_too_little_to_learn_from_is_said_before_training(rows: list[str], said: str, tmp_path: Path) -> None:
    in_folder(tmp_path, "lapse", "init", "shop")
    (tmp_path / "shop/data/delivery/transactions.csv").write_text("\n".join(["customer_id,ordered_at,amount", *rows]) + "\n")
    checked = in_folder(tmp_path / "shop", "lapse", "check", check=False)
    assert checked.returncode == 3 and said in checked.stdout and "STOP" in checked.stdout
    repro = in_folder(tmp_path / "shop", "dvc", "repro", check=False)
    assert repro.returncode != 0 and "lapse: " in repro.stderr and "Traceback" not in repro.stderr
    assert not (tmp_path / "shop/models/lapse").exists() and not (tmp_path / "shop/data/lists").exists()
    assert (tmp_path / "shop/data/reports/retention.json").exists(), "the retention rate needs no model"
