"""Stage evaluate: the judged model against its rivals on the test cutoff, and the MLflow record of it all."""

from pathlib import Path

from lapse.engine import open_engine
from lapse.errors import run
from lapse.history.activity import read_activity
from lapse.history.contents import Contents
from lapse.model.bundle import Bundle
from lapse.model.evaluate import say, write_evaluation
from lapse.model.registry import record_training
from lapse.model.value_report import say as say_value
from lapse.model.value_report import write_value_report
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
    period, windows = Contents.read(Path("data/validated/contents.json")).period, settings.churn.windows
    judging = settings.value.model_dump(), knobs.bootstrap_rounds, seed
    with open_engine() as engine:
        days = read_activity(engine, Path("data/activity"))["purchase_days"]
        say_value(write_value_report(engine, days, (features, labels), Path("models"), reports, windows, period, *judging))
    params = settings.model_dump(include={"churn", "snapshots", "features", "train", "business_timezone"})
    names = knobs.experiment, knobs.registered_model
    run_id = record_training(Path(), *names, params, metrics, Path("models/lapse"), reports, features)
    print(f"evaluate: recorded as MLflow run {run_id}")


if __name__ == "__main__":
    run(main)
