"""Stage features: one column per feature for every snapshot."""

from pathlib import Path

from lapse.engine import open_engine
from lapse.errors import run
from lapse.features.build import write_features
from lapse.features.catalogue import left_out
from lapse.features.own import feature_inputs
from lapse.history.activity import read_activity
from lapse.history.contents import Contents
from lapse.settings import load_settings


def main() -> None:
    """data/activity and data/snapshots in, one file per cutoff in data/features out."""
    contents = Contents.read(Path("data/validated/contents.json"))
    settings = load_settings()
    inputs = feature_inputs(contents, settings.churn.windows, settings.features.model_dump(), Path())
    for family, lack in left_out(inputs).items():
        print(f"features: family {family} left out: {lack} in the data")
    with open_engine() as engine:
        activity = read_activity(engine, Path("data/activity"))
        write_features(engine, activity, Path("data/snapshots"), Path("data/features"), contents.period, inputs)


if __name__ == "__main__":
    run(main)
