"""Commands promote and rollback: the one place from which the champion moves; and which model the scheduler scores by."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from lapse.core.bootstrap import OURS, compare_risks
from lapse.core.errors import DataError, LapseError, ModelError, PromotionRefused, SettingsError
from lapse.core.files import write_json
from lapse.core.metrics import auroc
from lapse.core.windows import ChurnWindows
from lapse.evaluation.level import with_level
from lapse.history.profile import DataProfile
from lapse.model.bundle import Bundle, content_hash
from lapse.model.train import read_rows
from lapse.registry.gate import Check, Comparison, Evidence, GateSettings, compare, decide
from lapse.registry.mlflow_registry import Registered, Registry, shown_uri
from lapse.registry.promotion_history import (
    PROMOTIONS,
    Action,
    PromotionRecord,
    append,
    champion_record,
    champions,
    read_history,
)
from lapse.value.value_model import ValueModel, value_beside

Choice = Literal["champion", "latest"]


@dataclass(frozen=True)
class PromotionTransaction:
    """The project, its registered model and what was read of both: where a move of the champion is written down."""

    registry: Registry
    records: list[PromotionRecord]
    champion: int | None

    @property
    def path(self) -> Path:
        """The history's file."""
        return self.registry.root / PROMOTIONS

    def write(self, action: Action, to: Registered, *, forced: bool, reason: str | None, checks: tuple[str, ...]) -> None:
        """Write the record first, then move the alias, then store the chain hash: killed between, the next run finishes."""
        new = PromotionRecord(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            by=who(self.registry.root),
            action=action,
            registered_model=self.registry.model,
            from_version=self.champion,
            to_version=to.number,
            to_model_version=to.final_model.version,
            forced=forced,
            reason=reason,
            checks=checks,
        )
        appended = append(self.path, self.records, new)
        if action != "refused":
            self.registry.move_champion(to.number)
        self.registry.chain_hash(appended.hash)


def promote(
    root: Path,
    registered_model: str,
    number: int | None,
    gate: GateSettings,
    *,
    reason: str | None = None,
    alarm_explained: str | None = None,
    force: bool = False,
) -> Iterator[str]:
    """Move the alias to a version (None: the one in models/lapse), and yield lines to show.

    `alarm_explained`: why a model that looks too good to be true is right; the record keeps it among the checks.

    Raises PromotionRefused when the gate refuses and `force` is not given; every promotion, forced promotion and
    refusal is a record in models/promotions.jsonl. SettingsError for force without a reason.
    """
    if force and not (reason or "").strip():
        raise SettingsError("promote: --force needs --reason, which the history keeps. Say why the gate is overruled.")
    with _open_transaction(root, registered_model, overrule=force) as transaction:
        candidate = transaction.registry.fetch(number or transaction.registry.number_of(content_hash(_shipped(root))))
        if candidate.number == transaction.champion:
            yield f"promote: {candidate.name} is the champion already"
            return
        champion = _champion(transaction)
        evidence = gather(root, candidate, champion, gate.rounds, gate.seed)
        last_day = DataProfile.read(root / "data/validated/profile.json").period.last_complete_day
        checks = decide(evidence, gate.windows, last_day, gate.limits, alarm_explained)
        yield f"promote: {candidate.name} of {registered_model}, tested on {evidence.test_cutoff}"
        yield from (f"promote: {check}" for check in checks)
        summaries, failed = tuple(map(str, checks)), [check for check in checks if not check.passed]
        if failed and not force:
            transaction.write("refused", candidate, forced=False, reason=reason, checks=summaries)
            raise PromotionRefused(_refusal(candidate, failed, transaction.champion))
        transaction.write("promoted", candidate, forced=bool(failed), reason=reason, checks=summaries)
        was = "there was none before" if transaction.champion is None else f"before it was {_version(transaction.champion)}"
        yield f"promote: champion is now {candidate.name}; {was}{'. FORCED: ' + str(reason) if failed else ''}"


def rollback(root: Path, registered_model: str, reason: str | None = None) -> Iterator[str]:
    """Move the alias back to the champion before the present one, and yield a line to show.

    Again: back to the one before that. ModelError when there is none.
    """
    with _open_transaction(root, registered_model, overrule=False) as transaction:
        stack = champions(_of(transaction.records, registered_model))
        if len(stack) < 2:
            raise ModelError(f"rollback: {registered_model!r} has no champion before the present one in {PROMOTIONS}. "
                             "Nothing was changed.")  # fmt: skip
        restored = transaction.registry.fetch(stack[-2])
        transaction.write("rolled back", restored, forced=False, reason=reason, checks=())
        yield f"rollback: champion is {restored.name} again; before it was version {transaction.champion}"


def gather(root: Path, candidate: Registered, champion: Registered | str | None, rounds: int, seed: int) -> Evidence:
    """Return all that the gate looks at, for the candidate and the champion (or why it cannot be read).

    Both are applied to the customers of the candidate's test cutoff in data/features; what cannot be measured on them
    is put into words, and fails its check.
    """
    metrics, evaluation_model = candidate.metrics, candidate.evaluation_model
    test = date.fromisoformat(metrics["test_cutoff"])
    calibration: Mapping[str, Any] | str
    comparison: Comparison | str | None = None
    try:
        rows = read_rows(root / "data/features", root / "data/labels", [test])
        risk, churned = evaluation_model.churn_risk(rows), rows["churned"].to_numpy()
        _require_same_customers(churned, risk, metrics["test"])
    except (FileNotFoundError, LapseError) as error:
        why = f"data/features has no cutoff {test}" if isinstance(error, FileNotFoundError) else str(error)
        calibration = f"could not be measured: {why}"
        comparison = None if champion is None else why
    else:
        customers = rows["customer_id"].tolist()
        card = compare_risks(customers, churned, {OURS: risk}, rounds, seed)[OURS]
        calibration = with_level(card, customers, churned, risk)
        if isinstance(champion, str):
            comparison = champion
        elif champion is not None:
            found = _champion_risk(champion, rows, test, evaluation_model.windows)
            comparison = found if isinstance(found, str) else compare(
                found[0], customers, churned, candidate=risk, champion=found[1], rounds=rounds, seed=seed
            )  # fmt: skip
    cutoffs = _learned_from(evaluation_model), _learned_from(candidate.final_model)
    return Evidence(evaluation_model.windows, test, *cutoffs, metrics, calibration, comparison)


@dataclass(frozen=True)
class Scoring:
    """The model that scores, and where it came from."""

    bundle: Bundle
    metrics: Path
    """The metrics.json of its evaluation."""
    origin: Mapping[str, Any]
    """For the manifest."""
    value: ValueModel | None
    """The value model that was trained with it; None where it was recorded without one."""


def scoring_model(root: Path, registered_model: str, choice: Choice | None, temporary: Path) -> Scoring:
    """Return the model to score by; `temporary` is a folder for its files.

    None: the champion where one was ever promoted, else models/lapse. ModelError when the champion is asked for or was
    promoted, but is not in the registry, or not as the history has it: scoring by another model in silence would be a
    promotion without a gate.
    """
    if choice == "latest":
        return _newest(root)
    registry, records = Registry(root, registered_model), _of(read_history(root / PROMOTIONS), registered_model)
    promoted = bool(champions(records))
    # Without a history, a registry that is there may still hold a champion.
    asked = promoted or choice == "champion" or registry.may_exist()
    number, chain_hash = registry.champion() if asked else (None, None)
    if choice is None and number is None and not promoted:
        return _newest(root)
    if number is None:
        raise ModelError(f"score: {registered_model!r} has no champion in the registry {shown_uri(root)}. Promote one "
                         "(`lapse promote`), point MLFLOW_TRACKING_URI to where it is, or score by models/lapse: "
                         "--model latest.")  # fmt: skip
    if (record := champion_record(records, number, chain_hash)) is None:
        raise ModelError(f"score: {_out_of_step(registry, number, records)} Or score by models/lapse: --model latest.")
    champion = registry.fetch(number, record.to_model_version)
    write_json(temporary / "metrics.json", champion.metrics)
    origin = {"from": "champion", "registered_model": registered_model, "registered_version": number}
    return Scoring(champion.final_model, temporary / "metrics.json", origin, champion.value)


def _newest(root: Path) -> Scoring:
    final_model, metrics = root / "models" / "lapse", root / "data/reports/metrics.json"
    return Scoring(Bundle.read(final_model), metrics, {"from": "models/lapse"}, value_beside(final_model))


def who(root: Path) -> str:
    """Return who is at the keyboard: git's user.email, else the name of the login."""
    try:
        asked = subprocess.run(["git", "config", "user.email"], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return getpass.getuser()
    return asked.stdout.strip() or getpass.getuser()


@contextmanager
def _open_transaction(root: Path, registered_model: str, *, overrule: bool) -> Iterator[PromotionTransaction]:
    """Yield a promotion transaction, held by one command at a time; ModelError where history and registry differ.

    `overrule`: what someone moved in MLflow by hand is taken as it is, and the next record says so.
    """
    from filelock import FileLock, Timeout

    # DVC names the project to every stage and experiment that it runs.
    if "DVC_ROOT" in os.environ or ".dvc" in root.resolve().parts:
        raise LapseError("An experiment or a stage never moves the champion. Run this by hand in the project's folder.")
    registry = Registry(root, registered_model)
    (root / PROMOTIONS).parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(root / PROMOTIONS.with_suffix(".lock"), timeout=0):
            records = read_history(root / PROMOTIONS)
            yield PromotionTransaction(
                registry, records, _in_step(registry, _of(records, registered_model), overrule=overrule)
            )
    except Timeout:
        raise LapseError(f"Another promotion or rollback holds {PROMOTIONS}. Wait for it, and run this again.") from None


def _in_step(registry: Registry, records: list[PromotionRecord], *, overrule: bool) -> int | None:
    """Return the champion by registry and history; a move that was killed half-way is finished."""
    champion, chain_hash = registry.champion()
    stack = champions(records)
    wanted = stack[-1] if stack else None
    hashes = ["", *(record.hash for record in records)]
    if (chain_hash or "") == hashes[-1] and champion == wanted:
        return champion
    if records and (chain_hash or "") == hashes[-2] and champion in (records[-1].from_version, wanted):
        if wanted is not None and champion != wanted:
            registry.move_champion(wanted)
        registry.chain_hash(hashes[-1])
        return wanted
    if overrule:
        return champion
    raise ModelError(_out_of_step(registry, champion, records))


def _out_of_step(registry: Registry, champion: int | None, records: list[PromotionRecord]) -> str:
    """Return what is said where the registry's champion is not the history's."""
    stack = champions(records)
    wanted = stack[-1] if stack else None
    return (
        f"The champion of {registry.model!r} in {shown_uri(registry.root)} is {_version(champion)}, but {PROMOTIONS} ends "
        f"with {_version(wanted)}{'' if champion != wanted else ' and another line'}: it was moved by hand, or this is not "
        f"the newest history. Bring the newest one (`git pull`, `git checkout -- {PROMOTIONS}`), or begin from what the "
        "registry says: `lapse promote --force --reason …`."
    )


def _champion(transaction: PromotionTransaction) -> Registered | str | None:
    """Return the present champion; or why it cannot be read; None where there is none."""
    if transaction.champion is None:
        return None
    try:
        return transaction.registry.fetch(transaction.champion)
    except ModelError as error:
        return f"the present champion cannot be compared with: {error}"


def _champion_risk(
    champion: Registered, rows: pd.DataFrame, test: date, windows: ChurnWindows
) -> tuple[str, np.ndarray[Any, np.dtype[np.float64]]] | str:
    """Return what is compared and its risks on the candidate's test rows, or why it cannot be.

    The final model is what runs today, so it is taken where the cutoff's outcomes were not known to it; else the
    evaluation model.
    """
    if champion.final_model.windows != windows:
        return f"{champion.name} was trained for another definition of churn, {champion.final_model.windows}"
    for basis, bundle in (("final model", champion.final_model), ("evaluation model", champion.evaluation_model)):
        if all(windows.known_at(cutoff, test) for cutoff in _learned_from(bundle)):
            try:
                return f"{champion.name} {basis}", bundle.churn_risk(rows)
            except ModelError as error:
                return f"{champion.name}: {error}"
    newest = max(_learned_from(champion.evaluation_model))
    return (f"{champion.name} learned from outcomes up to cutoff {newest}, not known at the candidate's test cutoff {test}. "
            "Promote a model that was tested later")  # fmt: skip


def _require_same_customers(churned: np.ndarray[Any, Any], risk: np.ndarray[Any, Any], test: Mapping[str, Any]) -> None:
    """Raise DataError when outcomes and risks are not those that the recorded card was made from."""
    now, then = auroc(churned, risk), test["auroc"]
    same = now == then if None in (now, then) else abs((now or 0.0) - then) < 5e-6
    if len(churned) != test["n"] or not same:
        raise DataError("data/features holds other customers, features or outcomes than the recorded test was made on "
                        f"({len(churned):,} customers and AUROC {now}, recorded {test['n']:,} and {then}). Run `dvc repro`, "
                        "and promote the version it records")  # fmt: skip


def _learned_from(bundle: Bundle) -> list[date]:
    return sorted({date.fromisoformat(day) for days in bundle.cutoffs.values() for day in days})


def _of(records: list[PromotionRecord], registered_model: str) -> list[PromotionRecord]:
    return [record for record in records if record.registered_model == registered_model]


def _shipped(root: Path) -> Path:
    Bundle.read(root / "models/lapse")
    return root / "models/lapse"


def _version(number: int | None) -> str:
    return "none" if number is None else f"version {number}"


def _refusal(candidate: Registered, failed: list[Check], champion: int | None) -> str:
    why = "; ".join(f"{check.name}: {check.detail}" for check in failed)
    return (f"promote: the gate refused {candidate.name}, and the champion stays {_version(champion)}. {why}. "
            "Put that right, or overrule the gate: --force --reason …; either is in models/promotions.jsonl.")  # fmt: skip
