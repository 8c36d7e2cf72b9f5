"""The few numbers of a training by which experiments are compared: they fit a screen, metrics.json does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMPARED = (
    "n", "churn_rate", "mean_risk", "auroc", "average_precision", "log_loss", "brier", "ece", "calibration_slope",
    "lift_at_10pct", "capture_at_10pct",
)  # fmt: skip
POOLED = ("auroc", "brier", "ece", "calibration_slope")
VALUE = ("mae", "spearman")


def summary(metrics: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `dvc metrics diff` and `dvc exp show` compare, of the contents of metrics.json and value.json.

    test: the newest test cutoff; pooled: all test cutoffs together; value: the margin of those who stayed. A number that
    could not be measured is left out.
    """
    parts = {
        "test": (metrics.get("test"), COMPARED),
        "pooled": ((metrics.get("pooled") or {}).get("test"), POOLED),
        "value": (value.get("test"), VALUE),
    }
    return {
        part: {name: numbers[name] for name in names if numbers.get(name) is not None}
        for part, (numbers, names) in parts.items()
        if numbers
    }
