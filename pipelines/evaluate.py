"""Stage evaluate: the judged model against its rivals on the test cutoff, and the MLflow record of it all."""

from pathlib import Path

from lapse.errors import run
from lapse.model.bundle import Bundle
from lapse.model.evaluate import say, write_evaluation
from lapse.model.registry import record_training
from lapse.settings import load_settings


def main() -> None:
    """data/features, data/labels and models in, the reports and an MLflow run out."""
    settings = load_settings()
    knobs, seed = settings.evaluate, settings.train.seed
    features, labels, reports = Path("data/features"), Path("data/labels"), Path("data/reports")
    print(f"evaluate: {knobs.bootstrap_rounds:,} bootstrap rounds for each interval", flush=True)
    judged = Bundle.read(Path("models/judged"))
    metrics = write_evaluation(features, labels, judged, reports, knobs.bootstrap_rounds, seed)
    say(metrics)
    params = settings.model_dump(include={"churn", "snapshots", "features", "train", "business_timezone"})
    names = knobs.experiment, knobs.registered_model
    run_id = record_training(Path(), *names, params, metrics, Path("models"), reports, features)
    print(f"evaluate: recorded as MLflow run {run_id}")


if __name__ == "__main__":
    run(main)
