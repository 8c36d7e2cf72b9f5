"""Stage train: the model that is judged and the model that ships."""

from pathlib import Path

from lapse.engine import open_engine
from lapse.errors import run
from lapse.features.catalogue import all_features
from lapse.features.own import feature_inputs
from lapse.history.activity import read_activity
from lapse.history.contents import Contents
from lapse.labels import churn_log_odds
from lapse.model.train import require_usable, write_models
from lapse.model.value_train import say, write_value_models
from lapse.settings import load_settings
from lapse.snapshots import cutoffs_in


def main() -> None:
    """data/features and data/labels in, models/judged and models/lapse out."""
    settings = load_settings()
    contents = Contents.read(Path("data/validated/contents.json"))
    inputs = feature_inputs(contents, settings.churn.windows, settings.features.model_dump(), Path())
    folders = Path("data/features"), Path("data/labels"), Path("models")
    require_usable(Path("data/reports/usability.json"))
    print("train: fitting the judged model and the one that ships", flush=True)
    windows, period, seed, most = settings.churn.windows, contents.period, settings.train.seed, settings.train.most_rows
    with open_engine() as engine:
        activity = read_activity(engine, Path("data/activity"))
        rates = churn_log_odds(engine, activity, cutoffs_in(folders[1]), windows, period)
        judged, ships = write_models(*folders, inputs, windows, settings.train.model_dump(), rates)
        for name, bundle in (("judged", judged), ("ships", ships)):
            fit, shown = bundle.cutoffs["fit"], ", ".join(bundle.cutoffs["calibrate"])
            print(f"train: {name}: fit on {len(fit)} cutoffs, {fit[0]} to {fit[-1]}, calibrated on {shown}")
        print(f"train: ships as {ships.version}")
        names = [feature.name for feature in all_features(inputs)]
        judging = settings.value.model_dump(), settings.evaluate.bootstrap_rounds, seed, most
        days = activity["purchase_days"]
        say(write_value_models(engine, days, folders[:2], folders[2], names, windows, period, *judging))


if __name__ == "__main__":
    run(main)
