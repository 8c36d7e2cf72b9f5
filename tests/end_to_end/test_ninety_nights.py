"""A simulated quarter, unattended: who is told of what, and whether the monitor's figures are those of the simulator's truth.

From day 60 on half of the customers order no more. Besides: a delivery that comes late, one that holds its rows twice, one
whose columns have other names, a night that breaks and one that is killed, and a retraining.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from lapse.core.engine import open_duckdb
from lapse.core.errors import LapseError, PromotionRefused
from lapse.core.metrics import auroc
from lapse.core.windows import ChurnWindows
from lapse.night import run as night
from lapse.night import watch
from lapse.night.alerts import Alerts
from lapse.night.archive import Archive
from lapse.night.manifest import Manifest
from lapse.night.monitored import Monitored, MonitoredRun
from lapse.registry.gate import GateSettings
from lapse.registry.promotion import promote
from lapse.simulation.shop import Shop
from lapse.simulation.simulate import simulate, write_truth
from lapse.workspace import Workspace
from tests.conftest import ROOT
from tests.kills import killer

START = date(2023, 1, 1)
SHOP = Shop(customers=450, days=480, seed=5, start=START, orders_per_year=70, season=0.0, deal_seekers=0.0, trials=0.0,
            complainers=0.0, subscribers=0.0, departures=0.35, established=1.0)  # fmt: skip
FIRST_NIGHT = START + timedelta(days=385)
NIGHTS = 90
DRIFT, LATE, DOUBLE, RENAMED, BROKEN, KILLED, RETRAINED = 60, range(20, 29), 36, 40, 45, 50, 80
OUT = Path("nightly")


def day_of(number: int) -> date:
    """Return the last day of the log in a night's delivery, night 1 being the first."""
    return FIRST_NIGHT + timedelta(days=number - 1)


@dataclass
class Quarter:
    """The deliveries of all nights, and what was told."""

    rows: pd.DataFrame
    customers: pd.DataFrame
    stopped: frozenset[str]
    alerts: dict[int, list[str]] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)
    made: dict[int, Manifest] = field(default_factory=dict)

    def deliver(self, number: int) -> None:
        known = self.rows[self.rows["ordered_at"].dt.date <= day_of(LATE.start - 1 if number in LATE else number)]
        if number == DOUBLE:
            known = pd.concat([known, known])
        if number == RENAMED:
            known = known.rename(columns={"customer_id": "client"})
        known.to_parquet("delivery/transactions.parquet", index=False)
        self.customers.to_parquet("delivery/customers.parquet", index=False)


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quarter]:
    """A workspace with a champion, and the log of a shop from which half the customers go on night DRIFT."""
    root = tmp_path_factory.mktemp("quarter")
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["churn"] |= {"active_days": 30, "horizon_days": 14}
    params["snapshots"] |= {"step_days": 14, "max_cutoffs": 16}
    params["features"] |= {"windows": [14, 30, 60]}
    params["evaluate"] |= {"origins": 2, "bootstrap_rounds": 200}
    params["lists"] |= {"max_customers": 60}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(params, file)
        simulate(SHOP, Path("shop"), Path("params.yaml"))
        params = yaml.load(Path("shop/params.yaml").read_text(encoding="utf-8"))
        params["sources"]["folder"] = "delivery"
        params["sources"]["transactions"]["duplicates"] = "drop"
        for table in ("events", "feedback", "subscriptions"):
            params["sources"][table] = None
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(params, file)
        Path("delivery").mkdir()
        rows = pd.read_parquet("shop/transactions.parquet")
        customers = pd.read_parquet("shop/customers.parquet")
        stopped = frozenset(customers["customer_id"].sort_values().iloc[::2])
        gone = rows["customer_id"].isin(stopped) & (rows["ordered_at"].dt.date > day_of(DRIFT))
        rows[~gone].to_parquet("shop/transactions.parquet", index=False)  # who is eligible follows from it
        yield Quarter(rows[~gone].drop_duplicates(), customers, stopped)


def retrain(here: Workspace) -> str:
    """As `lapse retrain` does, in this process; the gate is asked, and overruled where so few customers cannot convince it."""
    for stage in ("validate", "activity", "snapshots", "features", "labels", "train", "evaluate"):
        getattr(here, stage)()
    settings = here.settings
    gate = GateSettings(here.windows, settings.promote, settings.evaluate.bootstrap_rounds, settings.train.seed)
    try:
        said = list(promote(Path(), "lapse", None, gate, reason="ninety nights"))
    except PromotionRefused:
        said = list(promote(Path(), "lapse", None, gate, reason="ninety nights", force=True))
    return said[-1]


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("LAPSE_TESTS") != "long", reason="ninety nights take minutes: LAPSE_TESTS=long")
def test_ninety_nights(quarter: Quarter, monkeypatch: pytest.MonkeyPatch) -> None:
    tonight, told = 0, list[str]()
    monkeypatch.setattr(Workspace, "today", lambda self: day_of(tonight) + timedelta(days=1))
    monkeypatch.setattr(Alerts, "of", classmethod(lambda cls, out: cls(out, "json://alerts")))

    def tell(self: Alerts, subject: str, text: str, whom: list[str]) -> list[str]:
        told.extend([subject] if whom else [])
        return whom

    monkeypatch.setattr(Alerts, "_tell", tell)
    quarter.deliver(0)
    retrain(Workspace())
    write_day = night.write_day
    for tonight in range(1, NIGHTS + 1):
        told.clear()
        quarter.deliver(tonight)
        if tonight == KILLED:
            with killer("score") as victim:
                victim.spans.append(1.0)
                victim.kill(str(OUT), str(day_of(tonight)))
            continue
        if tonight == RETRAINED:
            retrain(Workspace())
        with monkeypatch.context() as patch:
            if tonight == BROKEN:
                patch.setattr(night, "write_day", lambda *_: 1 / 0)
            try:
                quarter.made[tonight] = watch.score_night(Path(), OUT)
                quarter.codes[tonight] = 0
                watch.monitor_night(Path(), OUT)
            except (LapseError, ZeroDivisionError) as error:
                quarter.codes[tonight] = error.exit_code if isinstance(error, LapseError) else 1
        quarter.alerts[tonight] = list(told)
        if told or quarter.codes[tonight]:
            print(f"night {tonight} ({day_of(tonight)}): exit code {quarter.codes[tonight]}, {told}", flush=True)
    assert night.write_day is write_day
    require_right_alerts(quarter)
    looked = Monitored.of(OUT)
    assert looked is not None
    require_truth(quarter, looked)


def require_right_alerts(quarter: Quarter) -> None:
    """Every fault is told once, and once that it is over; nothing else is told."""
    failed = {number: code for number, code in quarter.codes.items() if code}
    # Up to seven days old it is fresh.
    stale = dict.fromkeys(LATE[6:], 6)
    assert failed == {**stale, RENAMED: 2, BROKEN: 1}
    double = quarter.made[DOUBLE].sources["transactions"]
    assert double.rows_duplicate == double.rows_kept and not double.rows_rejected
    spoken = {number: subjects for number, subjects in quarter.alerts.items() if subjects}
    for begins, ends in ((LATE[6], LATE[-1] + 1), (RENAMED, RENAMED + 1), (BROKEN, BROKEN + 1)):
        assert spoken.pop(begins) == [f"lapse score failed (exit code {failed[begins]})"]
        assert spoken.pop(ends) == ["lapse score works again"]
    assert all(number > DRIFT for number in spoken), spoken
    aged = [number for number, subjects in spoken.items() if "lapse monitor: the model has aged" in subjects]
    # The first look whose outcome window holds a good deal of the drift; a later one may say it in other words.
    assert aged and DRIFT < aged[0] <= DRIFT + 28 and all(number < RETRAINED for number in aged)
    assert "lapse monitor: no alarm any more" in spoken[RETRAINED]
    known = {"lapse monitor: the model has aged", "lapse monitor: no alarm any more"}
    others = {subject for subjects in spoken.values() for subject in subjects} - known
    assert all("published with" in subject for subject in others), others


def require_truth(quarter: Quarter, looked: Monitored) -> None:
    """Each figure of the monitor is what the rows say, and is as likely by the simulator's truth as chance allows."""
    archive, shown = Archive(OUT), 0
    assert len(looked.runs) > 60
    for run in looked.runs:
        require_recount(quarter, run, archive)
        if run.look is None or day_of(DRIFT - 14) < date.fromisoformat(run.as_of) < day_of(DRIFT):
            continue  # at first some of the window lies before the drift
        require_likely(quarter, run, archive)
        shown += 1
    assert shown >= 4


def require_recount(quarter: Quarter, run: MonitoredRun, archive: Archive) -> None:
    day = date.fromisoformat(run.as_of)
    scores = archive.scores(day).set_index("customer_id")
    days = quarter.rows["ordered_at"].dt.date
    came = set(
        quarter.rows.loc[(days > day) & (days <= day + timedelta(days=14)) & ~quarter.rows["is_return"], "customer_id"]
    )
    churned = ~scores.index.isin(came)
    assert (run.customers, run.unknown) == (len(scores), 0)
    assert run.came == pytest.approx(churned.mean(), abs=1e-6)
    assert run.predicted == pytest.approx(scores["churn_risk"].mean(), abs=1e-6)


def require_likely(quarter: Quarter, run: MonitoredRun, archive: Archive) -> None:
    """Outcomes drawn 400 times from the true risks give figures among which the monitor's lie."""
    day = date.fromisoformat(run.as_of)
    with open_duckdb() as engine:
        write_truth(engine, SHOP, Path("shop"), ChurnWindows(active_days=30, horizon_days=14), [day])
    truth = pd.read_parquet("shop/truth.parquet").set_index("customer_id")["true_risk"]
    scores = archive.scores(day).set_index("customer_id")
    assert set(scores.index) == set(truth.index)
    true, risk = truth[scores.index].to_numpy(), scores["churn_risk"].to_numpy("float64")
    if day >= day_of(DRIFT):
        true = np.where(scores.index.isin(quarter.stopped), 1.0, true)
    dice = np.random.default_rng(1)
    drawn = (dice.random((400, len(true))) < true).astype("int64")
    figures: dict[str, tuple[Any, Any]] = {
        "came": (run.came, drawn.mean(axis=1)), "AUROC": (run.auroc, [auroc(one, risk) for one in drawn]),
    }  # fmt: skip
    decisions = pd.read_parquet(archive.run_of(day) / "lists/decisions.parquet")
    listed = scores.index.isin(decisions.loc[(decisions["list"] == "at_risk") & decisions["rank"].notna(), "customer_id"])
    figures["churned on the list"] = (run.listed_churned, drawn[:, listed].sum(axis=1))
    costs = Manifest.read(archive.run_of(day) / "manifest.json").costs
    if costs is not None:
        margin = scores["expected_margin"].to_numpy("float64")[listed]
        figures["profit"] = (run.profit, [costs.campaign.expected_profit(one[listed].astype("float64"), margin).sum()
                                          for one in drawn])  # fmt: skip
    for name, (found, likely) in figures.items():
        mean, error = float(np.mean(likely)), float(np.std(likely))
        print(f"{run.as_of} {name}: {found:.3f}, by the truth {mean:.3f} +- {error:.3f}")
        assert abs(found - mean) <= 3.5 * error + 1e-9, (run.as_of, name, found, mean, error)
