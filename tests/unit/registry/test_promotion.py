"""Who moves the champion, when and why: on a made-up registry."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lapse.core.errors import LapseError, ModelError, PromotionRefused, SettingsError
from lapse.core.windows import Period
from lapse.history.profile import DataProfile
from lapse.registry import promotion
from lapse.registry.gate import GateSettings
from lapse.registry.mlflow_registry import tracking_uri
from lapse.registry.promotion import promote, rollback, scoring_model
from lapse.registry.promotion_history import PROMOTIONS, champions, read_history
from tests.conftest import ROOT
from tests.project.imports import stage_files
from tests.unit.registry.test_gate import ALARM, GOOD, LAST_DAY, LIMITS, WINDOWS

BAD = replace(GOOD, metrics={**GOOD.metrics, "test": {"auroc_interval": [0.4, 0.6]}})


@dataclass
class MadeUpRegistry:
    """In memory, with the methods of lapse.registry.mlflow_registry.Registry; dies on request in the middle of a move."""

    root: Path
    model: str = "lapse"
    alias: int | None = None
    tag: str | None = None
    dies: bool = False
    fetched: list[int] = field(default_factory=list)
    lost: int | None = None
    """A version that cannot be read."""

    def champion(self) -> tuple[int | None, str | None]:
        return self.alias, self.tag

    def may_exist(self) -> bool:
        return True

    def fetch(self, number: int, recorded: str | None = None) -> Any:
        self.fetched.append(number)
        assert recorded in (None, f"hash{number}")
        if number == self.lost:
            raise ModelError(f"version {number} cannot be read")
        final_model = SimpleNamespace(version=f"hash{number}")
        return SimpleNamespace(number=number, name=f"version {number}", final_model=final_model, metrics={}, value=None)

    def move_champion(self, number: int) -> None:
        if self.dies:
            raise KeyboardInterrupt
        self.alias = number

    def chain_hash(self, hash_of_line: str) -> None:
        self.tag = hash_of_line


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUpRegistry:
    made_up = MadeUpRegistry(tmp_path)
    monkeypatch.setattr(promotion, "Registry", lambda root, model: made_up)
    monkeypatch.setattr(promotion, "gather", lambda *given: GOOD)
    DataProfile(Period(date(2023, 1, 1), LAST_DAY, LAST_DAY), {"transactions": []}).write(
        tmp_path / "data/validated/profile.json"
    )
    return made_up


def move(root: Path, number: int, reason: str | None = None, force: bool = False) -> str:
    return "\n".join(promote(root, "lapse", number, GateSettings(WINDOWS, LIMITS, 10, 1), reason=reason, force=force))


def test_every_move_is_a_line_and_rollback_goes_back_one_by_one(registry: MadeUpRegistry) -> None:
    root = registry.root
    assert "there was none before" in move(root, 1)
    move(root, 2, "more data")
    move(root, 3)
    detail = "\n".join(rollback(root, "lapse", "sales fell"))
    assert detail == "rollback: champion is version 2 again; before it was version 3" and registry.alias == 2
    list(rollback(root, "lapse"))
    assert registry.alias == 1
    with pytest.raises(ModelError, match="no champion before the present one"):
        list(rollback(root, "lapse"))
    move(root, 3)
    list(rollback(root, "lapse"))
    assert registry.alias == 1
    lines = read_history(root / PROMOTIONS)
    moves = [(line.action, line.from_version, line.to_version) for line in lines]
    assert moves[:4] == [("promoted", None, 1), ("promoted", 1, 2), ("promoted", 2, 3), ("rolled back", 3, 2)]
    assert lines[1].reason == "more data" and lines[3].reason == "sales fell" and all(line.by for line in lines)
    assert lines[0].to_model_version == "hash1" and len(lines[0].checks) == 7
    assert registry.tag == lines[-1].hash and len(lines) == 7


def test_a_refusal_is_kept_and_leaves_the_champion(registry: MadeUpRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    move(registry.root, 1)
    monkeypatch.setattr(promotion, "gather", lambda *given: BAD)
    with pytest.raises(PromotionRefused, match=r"the champion stays version 1. chance: AUROC 0.4000") as raised:
        move(registry.root, 2)
    assert raised.value.exit_code == 5 and registry.alias == 1
    assert read_history(registry.root / PROMOTIONS)[-1].action == "refused"
    move(registry.root, 1)
    assert len(read_history(registry.root / PROMOTIONS)) == 2  # the champion already: nothing to write down


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_force_needs_a_reason(reason: str | None, registry: MadeUpRegistry) -> None:
    with pytest.raises(SettingsError, match="--force needs --reason"):
        move(registry.root, 1, reason, force=True)
    assert registry.alias is None and not (registry.root / PROMOTIONS).exists()


def test_force_is_recorded_where_it_was_needed(registry: MadeUpRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    move(registry.root, 1, "asked for", force=True)
    monkeypatch.setattr(promotion, "gather", lambda *given: BAD)
    assert "FORCED: the board wants it" in move(registry.root, 2, "the board wants it", force=True)
    first, second = read_history(registry.root / PROMOTIONS)
    assert (first.forced, second.forced, second.reason) == (False, True, "the board wants it")
    assert any(check.startswith("FAIL") for check in second.checks) and registry.alias == 2


def test_a_model_that_is_too_good_waits_for_a_reason_that_the_history_keeps(
    registry: MadeUpRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarming = replace(GOOD, metrics={**GOOD.metrics, "grade": {"alarm": ALARM}})
    monkeypatch.setattr(promotion, "gather", lambda *given: alarming)
    with pytest.raises(PromotionRefused, match=r"alarm: ALARM.*days_to_cancel \(80%\).*--explain-alarm"):
        move(registry.root, 1, "a reason to promote explains no alarm")
    list(promote(registry.root, "lapse", 1, GateSettings(WINDOWS, LIMITS, 10, 1), alarm_explained="notice is given early"))
    refused, promoted = read_history(registry.root / PROMOTIONS)
    assert (refused.action, promoted.action, promoted.forced, registry.alias) == ("refused", "promoted", False, 1)
    assert any(check.endswith("explained: notice is given early") for check in promoted.checks)


def test_a_champion_that_cannot_be_read_is_refused_or_overruled(
    registry: MadeUpRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(registry.root, 1)
    registry.lost = 1
    monkeypatch.setattr(promotion, "gather", lambda root, candidate, champion, *_: replace(GOOD, comparison=champion))
    with pytest.raises(PromotionRefused, match="cannot be compared with: version 1 cannot be read"):
        move(registry.root, 2)
    assert "champion is now version 2; before it was version 1. FORCED" in move(registry.root, 2, "it is lost", force=True)
    assert registry.alias == 2 and read_history(registry.root / PROMOTIONS)[-1].forced


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0].replace('"reason": null', '"reason": "better"'), *lines[1:]],
        lambda lines: [lines[0].replace('"to_version": 1', '"to_version": 9'), *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [*lines[:2], lines[2][:40]],
        lambda lines: lines[:2],
        lambda lines: [],
    ],
    ids=["reason", "version", "first gone", "middle gone", "exchanged", "torn", "last gone", "emptied"],
)
def test_an_edited_history_is_noticed(change: Any, registry: MadeUpRegistry) -> None:
    for number in (1, 2, 3):
        move(registry.root, number)
    path = registry.root / PROMOTIONS
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(change(lines)) + "\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"not what was written|not a line of the history|not the newest history"):
        move(registry.root, 4)
    assert registry.alias == 3


def test_an_edit_that_mends_its_own_hash_breaks_the_next_line(registry: MadeUpRegistry) -> None:
    from lapse.registry.promotion_history import _hash

    move(registry.root, 1)
    move(registry.root, 2)
    path = registry.root / PROMOTIONS
    first, second = read_history(path)
    forged = replace(first, by="somebody else")
    path.write_text(f"{replace(forged, hash=_hash(forged)).text()}\n{second.text()}\n", encoding="utf-8")
    with pytest.raises(ModelError, match="line 2 is not what was written"):
        read_history(path)


def test_a_reason_may_hold_any_text(registry: MadeUpRegistry) -> None:
    reason = 'Größe\nund "Wert" \u2028 \x85 ende'
    move(registry.root, 1, reason)
    assert read_history(registry.root / PROMOTIONS)[0].reason == reason


def test_a_move_that_was_killed_half_way_is_finished(registry: MadeUpRegistry) -> None:
    move(registry.root, 1)
    registry.dies = True
    with pytest.raises(KeyboardInterrupt):
        move(registry.root, 2)
    registry.dies = False
    assert registry.alias == 1
    move(registry.root, 3)
    assert champions(read_history(registry.root / PROMOTIONS)) == [1, 2, 3] and registry.alias == 3
    assert read_history(registry.root / PROMOTIONS)[-1].from_version == 2


def test_an_alias_moved_by_hand_is_noticed_and_can_be_overruled(registry: MadeUpRegistry) -> None:
    move(registry.root, 1)
    registry.alias = 7
    with pytest.raises(ModelError, match=r"is version 7, but models/promotions.jsonl ends with version 1"):
        move(registry.root, 2)
    move(registry.root, 2, "7 was set in the UI", force=True)
    assert read_history(registry.root / PROMOTIONS)[-1].from_version == 7 and registry.alias == 2


def scored_by(registry: MadeUpRegistry, choice: Any = None) -> int | None:
    origin = scoring_model(registry.root, "lapse", choice, registry.root).origin
    return origin.get("registered_version")


def test_a_champion_without_its_history_scores_nobody(registry: MadeUpRegistry) -> None:
    move(registry.root, 1)
    assert scored_by(registry) == 1
    (registry.root / PROMOTIONS).unlink()
    for choice in (None, "champion"):
        with pytest.raises(
            ModelError, match=r"is version 1, but models/promotions.jsonl ends with none.*--model latest"
        ) as raised:
            scored_by(registry, choice)
        assert raised.value.exit_code == 4


def test_an_alias_that_the_history_does_not_know_scores_nobody(registry: MadeUpRegistry) -> None:
    for number in (1, 2):
        move(registry.root, number)
    for alias in (1, 7):
        registry.alias = alias
        with pytest.raises(ModelError, match=rf"is version {alias}, but models/promotions.jsonl ends with version 2"):
            scored_by(registry)
    assert registry.fetched == [1, 2, 1], "the candidates and the champion before; nothing was read to score by"


def test_while_a_move_was_killed_half_way_the_champion_before_it_scores(registry: MadeUpRegistry) -> None:
    move(registry.root, 1)
    registry.dies = True
    with pytest.raises(KeyboardInterrupt):
        move(registry.root, 2)
    assert scored_by(registry) == 1
    registry.alias = 2
    assert scored_by(registry) == 2


def test_a_history_that_is_no_text_is_one_message(registry: MadeUpRegistry) -> None:
    move(registry.root, 1)
    (registry.root / PROMOTIONS).write_bytes(b"\xff\x00\xfe")
    with pytest.raises(ModelError, match=r"cannot be read .*git checkout"):
        scored_by(registry)


def test_neither_a_stage_nor_an_experiment_moves_it(registry: MadeUpRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LapseError, match="never moves the champion"):
        move(registry.root / ".dvc" / "tmp" / "exps" / "one", 1)
    monkeypatch.setenv("DVC_ROOT", str(registry.root))
    with pytest.raises(LapseError, match="never moves the champion"):
        move(registry.root, 1)
    mover = Path(promotion.__file__)
    for stage in (ROOT / "pipelines").glob("*.py"):
        assert mover not in stage_files(stage.stem), stage


def test_an_experiment_records_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "one"
    assert tracking_uri(copy) == tracking_uri(tmp_path) == f"sqlite:///{tmp_path / 'mlflow.db'}"
