"""Who the figures of an evaluation are about: the log, the definition, the customers, the features; and the base rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lapse import __version__
from lapse.core.charts import draw_base_rate
from lapse.core.files import write_json
from lapse.evaluation.curves import share_interval
from lapse.features.catalogue import all_features
from lapse.features.names import slug
from lapse.history.profile import DataProfile
from lapse.model.bundle import Bundle
from lapse.model.training_procedure import Experiment

OWN = "own"
"""The family of a workspace's custom features."""


def write_population(
    experiment: Experiment, final_model: Bundle, profile: DataProfile, metrics: Mapping[str, Any], out: Path
) -> None:
    """Write population.json and the base rate to `out`."""
    write_json(out / "population.json", population(experiment, final_model, profile))
    points = base_rate_points(experiment, {part["test_cutoff"]: part["metrics"]["mean_risk"] for part in metrics["origins"]})
    write_json(out / "plots" / "base_rate.json", points)
    draw_base_rate(points, out / "pictures" / "base_rate.png")


def population(experiment: Experiment, final_model: Bundle, profile: DataProfile) -> dict[str, Any]:
    """Return the content of population.json."""
    return {
        "lapse": __version__,
        "period": profile.period.to_json(),
        "tables": sorted(profile.columns),
        "churn": asdict(experiment.windows),
        "cutoffs": len(experiment.cutoffs),
        "first_cutoff": str(experiment.cutoffs[0]),
        "last_cutoff": str(experiment.cutoffs[-1]),
        "snapshots": len(experiment.rows),
        "customers": int(experiment.rows["customer_id"].nunique()),
        "features": families(final_model),
        "attributes": sorted(name for name in final_model.inputs.attributes if _reads(final_model, name)),
    }


def families(bundle: Bundle) -> list[dict[str, Any]]:
    """Return the model's features counted by family, in the order of the data dictionary, with an example of each."""
    known = {feature.name: feature.family for feature in all_features(bundle.inputs)}
    counted = Counter(known.get(name, OWN) for name in bundle.features)
    order = [*dict.fromkeys(known.values()), OWN]
    example = {known.get(name, OWN): name for name in reversed(bundle.features)}
    return [{"family": name, "features": counted[name], "example": example[name]} for name in order if counted[name]]


def _reads(bundle: Bundle, attribute: str) -> bool:
    return any(name.startswith(f"attribute_{slug(attribute)}") for name in bundle.features)


def base_rate_points(experiment: Experiment, predicted: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the churn rate after each labelled cutoff, with a 95% interval, and the mean risk at test cutoffs."""
    points = []
    for day in experiment.cutoffs:
        churned = experiment.churned([day])
        low, high = share_interval(churned)
        points.append({"cutoff_date": str(day), "n": len(churned), "churn_rate": float(churned.mean()), "low": low,
                       "high": high, "mean_risk": predicted.get(str(day))})  # fmt: skip
    return points
