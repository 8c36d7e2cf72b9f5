"""A delivery that is not what the model learned from: stage score, the night, explain and check say the same of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from lapse.core.errors import StaleData
from lapse.features.catalogue import all_features
from lapse.model.bundle import Bundle
from lapse.night.archive import KEPT
from lapse.night.run import check_delivery, score_once
from lapse.scoring.freshness import silent_features, tables_read
from lapse.workspace import Workspace
from tests.unit.scoring.test_required_inputs import DAYS, FIRST, SOURCES, deliver, trained

__all__ = ["trained"]
END = FIRST + timedelta(days=DAYS)


@pytest.fixture
def shop(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A copy of the trained workspace, whose model keeps how the tables were."""
    folder = tmp_path / "shop"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    here = deliver(SOURCES)
    model = here.paths.final_model
    replace(Bundle.read(model), learned_from=here.profile.kept_with_models).write(model)
    yield here


def edit_events(query: str) -> None:
    """Deliver the rows of events that a query of pandas keeps."""
    events = pd.read_csv("delivery/events.csv")
    events.query(query).to_csv("delivery/events.csv", index=False)


def set_params(section: str, **values: object) -> None:
    yaml = YAML()
    params = yaml.load(Path("params.yaml").read_text(encoding="utf-8"))
    params.setdefault(section, {}).update(values)
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


def test_what_a_model_reads(shop: Workspace) -> None:
    bundle = shop.final_bundle()
    assert tables_read(bundle) == {"transactions", "events"}, "the customers hold no behaviour"
    assert bundle.learned_from == shop.profile.kept_with_models
    assert shop.freshness(bundle, shop.period.last_complete_day).messages() == []
    silent = silent_features(all_features(bundle.inputs), ["events"])
    assert "event_count_visit_30d" in silent and "days_since_last_order" not in silent


def test_a_stuck_export_is_refused_everywhere_and_publishes_nothing(shop: Workspace) -> None:
    edit_events(f"at < '{END - timedelta(days=60)}'")
    refusal = r"score: stale: events.*events: the newest row is of 2023-06-\d\d, \d\d days before"
    with pytest.raises(StaleData, match=refusal) as error:
        score_once(Path(), Path("out"))
    assert error.value.exit_code == 6
    made = [path for path in Path("out").rglob("*") if Path("out", KEPT) not in path.parents]
    assert not [path for path in made if path.suffix not in ("", ".lock", KEPT)]
    report = check_delivery(Workspace())
    assert [(one.severity, one.table) for one in report.findings if one.check == "stale"] == [("warning", "events")]
    with pytest.raises(StaleData, match=refusal):
        Workspace(data=Path("data")).freshness(shop.final_bundle(), shop.period.last_complete_day).require()


def test_params_may_allow_the_age_or_have_it_said_only(shop: Workspace) -> None:
    edit_events(f"at < '{END - timedelta(days=60)}'")
    set_params("score", when_stale="warn")
    set_params("lists", min_risk=0.0)
    manifest = score_once(Path(), Path("out"))
    scores = pd.read_parquet("out/latest/scores.parquet")
    assert set(scores["stale_tables"]) == {"events"} and "events: the newest row" in manifest.warnings[0]
    reasons = scores.filter(regex=r"^(reason|protective)_\d$").stack()
    assert len(reasons) > 20 and not reasons.str.contains("besides buying|visit").any()
    listed = pd.read_csv("out/latest/lists/at_risk.csv")
    assert len(listed) > 20 and listed["caution"].str.contains("stale: events").all()


def test_a_model_of_an_older_lapse_is_compared_as_far_as_it_can_be(shop: Workspace) -> None:
    old = replace(shop.final_bundle(), learned_from=None)
    old.write(shop.paths.final_model)
    spec = json.loads((shop.paths.final_model / "bundle.json").read_text(encoding="utf-8"))
    del spec["learned_from"], spec["sha256"]
    (shop.paths.final_model / "bundle.json").write_text(json.dumps(spec), encoding="utf-8")
    freshness = shop.freshness(Bundle.read(shop.paths.final_model), shop.period.last_complete_day)
    assert freshness.refused == () and "does not" not in str(freshness.differences)
    assert freshness.messages() == [freshness.not_compared]
    assert freshness.not_compared is not None and "trained by an older lapse" in freshness.not_compared
    edit_events("at < '1900'")
    empty = deliver(SOURCES).freshness(old, shop.period.last_complete_day)
    assert [one.kind for one in empty.refused] == ["gone"]


def test_a_withdrawal_keeps_off_the_list_and_is_counted(shop: Workspace) -> None:
    events = pd.read_csv("delivery/events.csv")
    gone = events.drop_duplicates("who").assign(what="unsubscribe")
    pd.concat([events, gone]).to_csv("delivery/events.csv", index=False)
    set_params("consent", withdrawn_by=["unsubscribe"])
    set_params("lists", min_risk=0.0)
    manifest = score_once(Path(), Path("out"))
    customers = manifest.customers
    assert customers.listed == 0 and customers.kept_off["withdrawn"] == customers.at_risk > 0
    note = f"{customers.at_risk} at risk, none may be contacted"
    assert note in str(customers.consent_note) and note in Path("out/latest/lists/at_risk_about.txt").read_text()
