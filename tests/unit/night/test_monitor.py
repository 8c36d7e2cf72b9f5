"""What became of past runs, recounted from the raw rows; and alarms that chance alone does not raise."""

from __future__ import annotations

import json
from datetime import date, timedelta
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lapse.cli import app
from lapse.core.errors import LapseError
from lapse.night import retrain
from lapse.night.archive import Archive
from lapse.night.manifest import Manifest
from lapse.night.monitor import alarms_of, area_error, measured, monitor, verdict
from lapse.night.run import score_once
from lapse.workspace import Workspace
from tests.unit.night.test_run import at_risk
from tests.unit.scoring.test_freshness import set_params, shop
from tests.unit.scoring.test_required_inputs import trained

__all__ = ["shop", "trained"]
OUT = Path("scores")


@pytest.mark.slow
def test_outcomes_are_those_of_the_raw_rows(shop: Workspace) -> None:
    set_params("lists", min_risk=0.0, max_customers=20)
    last = shop.period.last_complete_day
    with pytest.raises(LapseError, match="holds no scored day"):
        monitor(Path(), OUT)
    days = [last - timedelta(days=back) for back in (80, 60, 40, 5)]
    for day in days:
        score_once(Path(), OUT, as_of=str(day))
    rows = pd.read_csv("delivery/transactions.csv")
    gone = (rows["who"] < "c20") & (pd.to_datetime(rows["at"]).dt.date > days[0])
    rows[~gone].to_csv("delivery/transactions.csv", index=False)

    runs = monitor(Path(), OUT)
    assert [run.as_of for run in runs] == [str(day) for day in days[:3]], "the outcome of the last is not known"
    assert [run.look for run in runs] == [1, None, 2], "windows of 30 days, 20 days apart, overlap"
    orders = [(row["who"], date.fromisoformat(str(row["at"])[:10])) for row in rows[~gone].to_dict("records")]
    for run, day in zip(runs, days, strict=False):
        then = {who for who, at in orders if day - timedelta(days=90) < at <= day}
        came = {who for who in then if not any(w == who and day < at <= day + timedelta(days=30) for w, at in orders)}
        scored = pd.read_parquet(OUT / f"as_of={day}/scores.parquet").set_index("customer_id")["churn_risk"]
        listed = at_risk(day)
        assert run.customers == len(then) and run.unknown == len(scored) - len(then)
        assert run.came == pytest.approx(len(came) / len(then), abs=1e-6) and came
        assert run.predicted == pytest.approx(scored[sorted(then)].mean(), abs=1e-6)
        assert (run.listed, run.listed_churned) == (len(listed & then), len(listed & came))
    assert any("the level is off" in alarm for alarm in runs[0].alarms) and runs[1].alarms == []
    assert "lapse retrain" in verdict(runs)
    kept = json.loads((OUT / "monitor.json").read_text(encoding="utf-8"))
    assert [run["as_of"] for run in kept] == [run.as_of for run in runs]
    assert "The model has aged" in (OUT / "monitor.html").read_text(encoding="utf-8")
    Archive(OUT).prune(55)
    after = monitor(Path(), OUT)
    assert after == runs, "days that the archive has given up stay, and looks are not counted anew"


def test_the_error_of_an_auroc_by_hand() -> None:
    # Hanley & McNeil 1982: area .8, 50 and 100: q1 = .8 / 1.2, q2 = 1.28 / 1.8.
    q1, q2 = 0.8 / 1.2, 1.28 / 1.8
    expected = sqrt((0.16 + 49 * (q1 - 0.64) + 99 * (q2 - 0.64)) / 5000)
    assert area_error(0.8, 50, 100) == pytest.approx(expected)


def test_a_model_that_is_right_is_left_alone_for_years() -> None:
    """Of 30 right models that are looked at 12 times, about .05 * 30 may alarm at all; six would be a fault."""
    dice = np.random.default_rng(3)
    manifest = Manifest.model_construct(
        as_of="2024-01-01",
        model=Manifest.model_fields["model"].annotation.model_construct(version="v", tested_auroc=0.70),  # type: ignore[union-attr]
    )
    ids = [f"c{number}" for number in range(400)]
    alarmed = 0
    for _ in range(30):
        for look in range(1, 13):
            risk = dice.beta(1, 4, len(ids))
            frame = pd.DataFrame({"customer_id": ids, "churn_risk": risk})
            came = pd.Series((dice.random(len(ids)) < risk).astype("int64"), index=ids)
            run = measured(manifest, frame, frame.head(9), came, look=look, max_level=0.0)
            if alarms_of([run]):
                alarmed += 1
                break
    assert alarmed < 6


def test_to_train_anew_is_to_run_the_stages_and_ask_the_gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[list[str]] = []

    class Failed:
        returncode = 3

    monkeypatch.setattr(retrain.subprocess, "run", lambda words, **_: asked.append(words) or Failed())
    with pytest.raises(LapseError, match=r"`dvc repro evaluate` failed \(exit code 3\)"):
        retrain.train_anew(tmp_path)
    assert asked[0][1:] == ["-m", "dvc", "repro", "evaluate"]
    failed = CliRunner().invoke(app, ["retrain"])
    assert isinstance(failed.exception, LapseError)
