"""Stage train's second model: what retained customers bring, the evaluation model and the final one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pandas as pd

from lapse.core.logging import stage_logger
from lapse.core.paths import Paths
from lapse.core.settings import Train, Value
from lapse.core.windows import ChurnWindows
from lapse.snapshots import cutoffs_in
from lapse.value.spend import SpendLog
from lapse.value.value_metrics import beats_last_year, margins_at_test, value_cards
from lapse.value.value_model import BY_PRICE, NO_MONEY, PRICE, Kind, ValueModel, ValueRoles, fit_value_model, value_roles

LOG = stage_logger("train")


def write_value_models(
    log: SpendLog,
    paths: Paths,
    feature_names: Sequence[str],
    *,
    windows: ChurnWindows,
    value: Value,
    train: Train,
    rounds: int,
) -> ValueModel:
    """Write value models beside the bundles, and return the final one.

    The evaluation model learns from what was known at its test cutoff. The final one, by the same training procedure
    from every mature cutoff, is a model only where the evaluation model beat last year's spend. Without money in orders
    both are of kind `contract` where subscriptions have a price, else of kind `none`.
    """
    days, share = value.value_days, value.margin_share
    if not log.has_money():
        by_price = PRICE in feature_names and windows.mode == "subscription"
        kind: Kind = "contract" if by_price else "none"
        why = BY_PRICE if by_price else NO_MONEY
        usual = _usual_month(paths) if by_price else None
        final_model = evaluation_model = ValueModel(kind, days, days, share, why, usual_order=usual)
    else:
        roles = value_roles(cutoffs_in(paths.labels), windows, days, log.period.last_complete_day)
        rows = log.value_rows(
            paths, roles.known_now, windows=windows, days=roles.learned_days, margin_share=share, most_rows=train.most_rows
        )
        usual = log.usual_order(roles.test)
        evaluation_model, final_model = (
            replace(model, usual_order=usual) for model in fit_both(rows, roles, feature_names, value, rounds, train.seed)
        )
    evaluation_model.write(paths.evaluation_model)
    final_model.write(paths.final_model)
    return ValueModel.read(paths.final_model)


def _usual_month(paths: Paths) -> float:
    """Return the median monthly price of the contracts that run at the newest cutoff; 0 without a positive one."""
    price = pd.read_parquet(paths.features / f"{max(cutoffs_in(paths.labels))}.parquet", columns=[PRICE])[PRICE]
    return float(price[price > 0].median()) if (price > 0).any() else 0.0


def fit_both(
    rows: pd.DataFrame,
    roles: ValueRoles,
    feature_names: Sequence[str],
    value: Value,
    rounds: int,
    seed: int,
) -> tuple[ValueModel, ValueModel]:
    """Return the evaluation model and the final model for SpendLog.value_rows of all mature cutoffs."""

    def fitted(cutoffs: Sequence[date]) -> ValueModel:
        return fit_value_model(
            rows, cutoffs, feature_names, value_days=value.value_days, learned_days=roles.learned_days,
            margin_share=value.margin_share, seed=seed,
        )  # fmt: skip

    evaluation_model = fitted(roles.known_at_test)
    evaluation_model = replace(evaluation_model, cutoffs={**evaluation_model.cutoffs, "test": [str(roles.test)]})
    test, expected = margins_at_test(evaluation_model, rows)
    beats, why = beats_last_year(value_cards(test, expected, rounds, seed))
    final_model = fitted(roles.known_now)
    if not beats:
        final_model = replace(final_model, kind="last_year", booster=None, why=why)
    # A final model that had too little to learn from says so itself.
    return evaluation_model, replace(final_model, why=final_model.why or why)


def print_summary(final_model: ValueModel) -> None:
    """Log what the final value model is."""
    if final_model.kind in ("none", "contract"):
        LOG.info(f"no value model: {final_model.why}")
        return
    what = "a model" if final_model.kind == "model" else "last year's spend"
    LOG.info(f"value over {final_model.value_days} days by {what}: {final_model.why}; version {final_model.version}")
    if final_model.learned_days != final_model.value_days:
        LOG.info(scaled_note(final_model))


def scaled_note(model: ValueModel) -> str:
    """Return a note on a value model that was learned over fewer days than it predicts."""
    return (
        f"the log is too short to learn value over {model.value_days} days: it is learned over {model.learned_days} days "
        f"and multiplied by {model.value_days / model.learned_days:.2f}, as if every season were alike"
    )
