"""A night's run: what it archives is whole, says what it was made of, and knows the night before."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from typer.testing import CliRunner

from lapse.cli import app
from lapse.core.errors import DataError, Drifted, Locked, PublishFailed, StaleData
from lapse.core.process import held
from lapse.night import run as night
from lapse.night import watch
from lapse.night.alerts import URLS
from lapse.night.archive import KEPT, Archive
from lapse.night.manifest import FAILURE, Failure, Manifest
from lapse.night.prometheus import FILE
from lapse.night.publish import publish_latest
from lapse.night.run import score_once
from lapse.pages import manifest_schema
from lapse.web.access import Access
from lapse.web.probes import Probes
from lapse.web.shelf import Shelf
from lapse.web.site import Site
from lapse.workspace import Workspace
from tests.unit.night.conftest import Hook, texts
from tests.unit.scoring.test_freshness import set_params, shop
from tests.unit.scoring.test_required_inputs import trained

__all__ = ["shop", "trained"]
OUT = Path("scores")


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json"}  # fmt: skip


@pytest.mark.slow
def test_a_manifest_tells_the_truth_and_a_run_that_fails_changes_nothing(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = score_once(Path(), OUT)
    run = Archive(OUT).latest()
    assert run is not None and Manifest.read(run / "manifest.json") == told and told.outputs == content(run)
    assert told.changes is None and {drift.against for drift in told.drift} <= {"model"}
    assert [step.name for step in told.steps] == ["model", "validate", "activity", "score", "lists"]
    for name, source in told.sources.items():
        became = source.rows_kept + source.rows_rejected + source.rows_duplicate + source.rows_left_out
        assert source.rows_in == became, name

    delivered, validate = Path("delivery/events.csv"), Workspace.validate_sources

    def replaced_meanwhile(self: Workspace, engine: Any) -> Any:
        counts = validate(self, engine)
        delivered.write_bytes(delivered.read_bytes() + b"\n")
        return counts

    with monkeypatch.context() as patched:
        patched.setattr(night.Workspace, "validate_sources", replaced_meanwhile)
        with pytest.raises(DataError, match=r"sources.events: the files were replaced while they were read"):
            score_once(Path(), OUT)
    with held(OUT, "score"), pytest.raises(Locked, match="another run is writing to scores"):
        score_once(Path(), OUT)
    assert content(run) == told.outputs and Manifest.read(run / "manifest.json") == told

    # What is published is what the manifest describes, or nothing.
    assert publish_latest(Path(), OUT, "sqlite:///crm.db", None)["lapse_scores"] == told.customers.scored
    decisions = run / "lists/decisions.parquet"
    whole = decisions.read_bytes()
    decisions.write_bytes(whole + b"\0")
    with pytest.raises(PublishFailed, match=r"lists/decisions.parquet is not what its manifest says"):
        publish_latest(Path(), OUT, "sqlite:///crm.db", None)
    decisions.write_bytes(whole)

    # Again the same day: replaced, with the same bytes. And the stages never touch the archive.
    again = score_once(Path(), OUT)
    assert again.outputs == told.outputs and again.run_id != "" and Archive(OUT).days() == [shop.period.last_complete_day]
    Workspace().validate()
    Workspace().activity()
    Workspace().score()
    assert content(run) == told.outputs
    assert sorted(path.name for path in OUT.iterdir() if not path.name.endswith(".lock")) == [
        KEPT,
        run.name,
        "latest",
        "lists",
        "scores",
    ]


@pytest.mark.slow
def test_a_night_knows_the_night_before(shop: Workspace) -> None:
    set_params("lists", min_risk=0.0, max_customers=20)
    last = shop.period.last_complete_day
    earlier = last - timedelta(days=9)
    first = score_once(Path(), OUT, as_of=str(earlier))
    told = score_once(Path(), OUT)
    assert first.as_of == str(earlier) and Archive(OUT).days() == [earlier, last]
    changes = pd.read_csv(OUT / "latest/lists/changes.csv", dtype={"customer_id": "str"})
    changes = changes[changes["list"] == "at_risk"].set_index("customer_id")
    then, now = at_risk(earlier), at_risk(last)
    expected = {customer: "still" if customer in now else "gone" for customer in then}
    expected |= {customer: "new" for customer in now if customer not in then}
    assert changes["change"].to_dict() == expected and set(expected.values()) == {"new", "still", "gone"}
    assert told.changes is not None
    assert told.changes["at_risk"].new == sum(change == "new" for change in expected.values())
    assert sum(told.changes["at_risk"].gone.values()) == sum(change == "gone" for change in expected.values())
    scores = pd.read_parquet(OUT / "latest/scores.parquet").set_index("customer_id")
    for customer, row in changes[changes["change"] == "gone"].iterrows():
        since = scores["last_order_date"].get(customer)
        assert (row["why"] == "they ordered since") == (since is not None and since > pd.Timestamp(earlier))
    against = {drift.against: drift for drift in told.drift}
    assert against["last run"].day == str(earlier) and against["last run"].customers_then == len(first_scores(earlier))


def at_risk(day: Any) -> set[str]:
    decisions = pd.read_parquet(OUT / f"as_of={day}/lists/decisions.parquet")
    return set(decisions.loc[(decisions["list"] == "at_risk") & decisions["rank"].notna(), "customer_id"])


def first_scores(day: Any) -> pd.DataFrame:
    return pd.read_parquet(OUT / f"as_of={day}/scores.parquet")


@pytest.mark.slow
def test_a_jump_since_the_last_night_publishes_nothing(shop: Workspace) -> None:
    last = shop.period.last_complete_day
    score_once(Path(), OUT, as_of=str(last - timedelta(days=7)))
    before = content(OUT / "latest")
    for name in ("transactions", "events"):
        rows = pd.read_csv(f"delivery/{name}.csv")
        rows[rows["who"] < "c30"].to_csv(f"delivery/{name}.csv", index=False)
    set_params("score", when_stale="warn")
    with pytest.raises(Drifted, match=r"30 customers were scored, -50% of the 60 on .* Nothing was published") as caught:
        score_once(Path(), OUT)
    assert caught.value.exit_code == 7 and content(OUT / "latest") == before and len(Archive(OUT).days()) == 1
    set_params("score", when_drifted="warn", keep_days=1)
    told = score_once(Path(), OUT)
    assert any("score.max_" in warning for warning in told.warnings) and Archive(OUT).days() == [last]


@pytest.mark.slow
def test_a_log_of_last_week_is_stale_and_one_of_years_ago_is_history(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = shop.period.last_complete_day
    monkeypatch.setattr(night.Workspace, "today", lambda self: newest + timedelta(days=9))
    with pytest.raises(StaleData, match="transactions: the newest row"):
        score_once(Path(), OUT)
    assert not Archive(OUT).days()
    assert score_once(Path(), OUT, max_log_age=9).log_age_days == 9
    monkeypatch.setattr(night.Workspace, "today", lambda self: newest + timedelta(days=900))
    assert score_once(Path(), OUT).log_age_days == 900


@pytest.mark.slow
def test_a_night_that_fails_is_written_down_told_and_measured(
    shop: Workspace, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URLS, f"http://{hook.address}")
    good = watch.score_night(Path(), OUT)
    manifest = (OUT / "latest/manifest.json").read_bytes()
    assert not (OUT / FAILURE).exists() and "lapse_last_exit_code 0\n" in (OUT / FILE).read_text()
    told_before = len(hook.taken)
    delivered = Path("delivery/events.csv")
    whole = delivered.read_bytes()
    delivered.write_text("who,at,what\n")
    # By the command line, away from a terminal: the error is a line of JSON.
    failed = CliRunner().invoke(app, ["score", "--out", str(OUT)])
    error = json.loads(failed.stderr)
    failure = Failure.of(OUT)
    assert failure is not None and failed.exit_code == failure.exit_code == error["exit_code"] != 0
    assert failure.message == error["message"] and error["level"] == "error" and error["stage"] == "score"
    assert failure.last_good == f"as_of={good.as_of}" and failure.steps[0].name == "model"
    schema = Draft202012Validator(json.loads(manifest_schema()))
    for path in (OUT / FAILURE, OUT / "latest/manifest.json"):
        written = json.loads(path.read_text())
        assert list(schema.iter_errors(written)) == [], path
        assert list(schema.iter_errors(written | {"lapse": 1})) and list(schema.iter_errors(written | {"more": 1})), path
    assert (OUT / "latest/manifest.json").read_bytes() == manifest, "the last good one stands beside it"
    measured = (OUT / FILE).read_text()
    assert f"lapse_last_exit_code {failure.exit_code}\n" in measured
    page = Probes(Site(Path(), Shelf(Path(), OUT), Access.for_host("127.0.0.1", [], {})))
    assert bytes(page.metrics().body).decode() == measured, "`lapse serve` answers the same"
    assert f'lapse_customers{{what="scored"}} {good.customers.scored}\n' in measured
    assert len(hook.taken) == told_before + 1 and f"(exit code {failure.exit_code})" in texts(hook)[-1]
    assert f"The last good run stays: {OUT}/as_of={good.as_of}" in texts(hook)[-1]
    delivered.write_bytes(whole)
    # A second run at the same time is no failure of the first: nobody is told, and what went wrong before stays on record.
    with held(OUT, "score"):
        second = CliRunner().invoke(app, ["score", "--out", str(OUT)])
        assert second.exit_code == 8 and Failure.of(OUT) == failure and len(hook.taken) == told_before + 1
        holder = OUT / ".lapse-score.holder"
        holder.write_text("process 1 on elsewhere, since 2024-01-01T00:00:00+00:00")
        assert CliRunner().invoke(app, ["score", "--out", str(OUT)]).exit_code == 8
        assert "(exit code 8)" in texts(hook)[-1], "one that hangs for a day is told of"
    watch.score_night(Path(), OUT)
    assert not (OUT / FAILURE).exists() and any("lapse score works again" in text for text in texts(hook))


@pytest.mark.slow
def test_what_is_kept_of_a_folder_of_files_changes_no_score(shop: Workspace) -> None:
    for name in ("transactions", "events"):
        log = pd.read_csv(f"delivery/{name}.csv", parse_dates=["at"], dtype={"who": "str"})
        Path("delivery", name).mkdir()
        for month, rows in log.groupby(log["at"].dt.strftime("%Y-%m")):
            rows.to_parquet(f"delivery/{name}/{month}.parquet", index=False)
        table = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["sources"][name]
        set_params("sources", **{name: {**table, "path": name}})
    newest = sorted(Path("delivery/transactions").iterdir())
    day, whole = str(shop.period.last_complete_day), newest[2].read_bytes()
    newest[2].unlink()
    without = score_once(Path(), OUT, as_of=day)
    newest[2].write_bytes(whole)
    told = score_once(Path(), OUT, as_of=day)
    assert told.outputs == score_once(Path(), Path("fresh"), as_of=day).outputs and told.outputs != without.outputs

    kept = OUT / KEPT / "validated/transactions.parquet"
    assert len(list(kept.iterdir())) == len(newest)
    for month in kept.iterdir():
        month.write_bytes(b"no Parquet")
    pd.read_parquet(newest[1]).head(-1).to_parquet(newest[1], index=False)
    again = score_once(Path(), OUT, as_of=day)
    assert again.sources["transactions"].rows_in == told.sources["transactions"].rows_in - 1
    shutil.rmtree("fresh")
    assert again.outputs == score_once(Path(), Path("fresh"), as_of=day).outputs
