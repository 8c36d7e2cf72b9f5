"""What a person finds in the MLflow record: the verdict in Markdown, the metrics by name, the feature dictionary."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lapse.core.cells import without_formula
from lapse.core.markdown import table
from lapse.features.catalogue import all_features
from lapse.model.bundle import Bundle

SHOWN = ("auroc", "average_precision", "brier", "ece", "lift_at_10pct")
DICTIONARY = ("feature", "family", "meaning", "unit", "nulls", "risk", "cause", "reason")


def flat_params(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested params as one level of dotted names, as `dvc exp run -S` has them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flat_params(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def flat_metrics(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested metrics under names like `test/auroc`, by which the UI sorts and groups.

    An interval [low, high] becomes name_low and name_high. What is not a number (null, text, a longer list) is left
    out.
    """
    flat: dict[str, float] = {}
    for key, value in values.items():
        name = f"{prefix}{re.sub(r'[^0-9A-Za-z_. -]+', '_', str(key))}"
        if isinstance(value, Mapping):
            flat |= flat_metrics(value, f"{name}/")
        elif _is_number(value):
            flat[name] = float(value)
        elif isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)):
            flat |= {f"{name}_low": float(value[0]), f"{name}_high": float(value[1])}
    return flat


def description(metrics: Mapping[str, Any]) -> str:
    """Return the Markdown that the run and the registered version open with."""
    test = metrics["test"]
    rows = [("**lapse**", test, "")]
    rows += [(name, card, _interval(card.get("auroc_difference_interval"))) for name, card in metrics["baselines"].items()]
    head = ("out of time", *SHOWN, "our difference in AUROC (95%)")
    compared = table(head, [(name, *(_shown(card.get(m)) for m in SHOWN), difference) for name, card, difference in rows])
    cutoffs = [f"- {role}: {', '.join(days)}" for role, days in metrics["cutoffs"].items()]
    return "\n".join([
        f"**{metrics['verdict']}**", "",
        *([f"**CAUTION:** {metrics['caution']}", ""] if metrics.get("caution") else []),
        f"{test['n']:,} customers at {metrics['test_cutoff']}, whom neither the model nor its calibration had seen; "
        f"{test['churn_rate']:.1%} churned. AUROC {_shown(test['auroc'])}, 95% {_interval(test.get('auroc_interval'))}.",
        "", compared, "", "Cutoffs by role:", "", *cutoffs,
    ])  # fmt: skip


def feature_dictionary(bundle: Bundle) -> str:
    """Return CSV with the dictionary entry of each feature, in the model's order."""
    known = {feature.name: feature for feature in all_features(bundle.inputs)}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(DICTIONARY)
    for name in bundle.features:
        if name not in known:
            writer.writerow([name, *[""] * (len(DICTIONARY) - 1)])
            continue
        entry = known[name].entry
        cells = (name, known[name].family, entry.meaning, entry.unit, entry.nulls, entry.risk, entry.cause, entry.reason)
        writer.writerow(map(without_formula, cells))
    return out.getvalue()


def input_example(features: Sequence[str], rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row with the median of each feature: nobody's row, yet a plausible one."""
    return rows[list(features)].astype("float64").median().to_frame().T.reset_index(drop=True)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _interval(pair: Sequence[float] | None) -> str:
    return "-" if pair is None else f"{pair[0]:.4f} to {pair[1]:.4f}"
