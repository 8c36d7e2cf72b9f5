"""Stage evaluate: the recipe against its rivals at test cutoffs it had not seen, and the MLflow record of it all."""

from pathlib import Path

from lapse.engine import open_engine
from lapse.errors import run
from lapse.history.activity import read_activity
from lapse.history.contents import Contents
from lapse.model.bundle import Bundle
from lapse.model.card import write_card
from lapse.model.evaluate import evaluate, say
from lapse.model.registry import record_training
from lapse.model.report import write_report
from lapse.model.value_report import say as say_value
from lapse.model.value_report import write_value_report
from lapse.settings import load_settings


def main() -> None:
    """data/features, data/labels, data/activity and models in, the reports and an MLflow run out."""
    settings = load_settings()
    knobs, train, gate = settings.evaluate, settings.train.model_dump(), settings.promote.model_dump()
    reports, features, ships = Path("data/reports"), Path("data/features"), Path("models/lapse")
    judged, ready = Bundle.read(Path("models/judged")), Bundle.read(ships)
    metrics = evaluate(Path("data"), judged, ready, reports, train, gate, knobs.bootstrap_rounds, knobs.origins)
    say(metrics)
    period, windows = Contents.read(Path("data/validated/contents.json")).period, settings.churn.windows
    judging = settings.value.model_dump(), knobs.bootstrap_rounds, settings.train.seed, settings.train.most_rows
    with open_engine() as engine:
        days = read_activity(engine, Path("data/activity"))["purchase_days"]
        rows = features, Path("data/labels")
        say_value(write_value_report(engine, days, rows, Path("models"), reports, windows, period, *judging))
    write_card(reports, Path("models/README.md"))
    print(f"evaluate: all of it as a page: {write_report(reports)}")
    params = settings.model_dump(include={"churn", "snapshots", "features", "train", "business_timezone"})
    names = knobs.experiment, knobs.registered_model
    run_id = record_training(Path(), *names, params, metrics, Path("models"), reports, features)
    print(f"evaluate: recorded as MLflow run {run_id}")


if __name__ == "__main__":
    run(main)
