"""What `lapse monitor` found, in MLflow: one run per model, whose metrics have a step per scored day. No customer's data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from lapse.core.logging import stage_logger
from lapse.registry.mlflow_registry import Registry, mlflow_of, open_experiment, tracking_uri
from lapse.registry.record import flat_metrics

LOG = stage_logger("monitor")
MODEL = "model_version"


def record_monitoring(
    root: Path, experiment: str, model: str, days: Mapping[date, Mapping[str, object]], *, said: str, page: Path
) -> str | None:
    """Record what was found of a model's scored days, and return the id of its run; None where there is no MLflow yet.

    `days`: the figures of each day by name, nested as in metrics.json. What is there already stays as it is: each day is
    a step of its own, so every look may record all of them.
    """
    if not Registry(root, "").may_exist():
        return None
    with mlflow_of(root) as mlflow:
        open_experiment(mlflow, tracking_uri(root), experiment)
        client = mlflow.MlflowClient()
        found = client.search_runs(
            [client.get_experiment_by_name(experiment).experiment_id], f"tags.{MODEL} = '{model}'", max_results=1
        )
        known = found[0].info.run_id if found else None
        with mlflow.start_run(run_id=known, run_name=None if known else f"model {model}") as run:
            mlflow.set_tags({"kind": "monitoring", MODEL: model, "verdict": said, "mlflow.note.content": said})
            for day, figures in sorted(days.items()):
                time = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
                metrics = [
                    mlflow.entities.Metric(name, value, time, day.toordinal())
                    for name, value in flat_metrics(figures).items()
                ]
                for start in range(0, len(metrics), 1000):
                    client.log_batch(run.info.run_id, metrics=metrics[start : start + 1000])
            mlflow.log_artifact(str(page))
            return str(run.info.run_id)
