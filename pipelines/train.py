"""Stage train: the model that is judged and the model that ships."""

from pathlib import Path

from lapse.errors import run
from lapse.features.own import feature_inputs
from lapse.history.contents import Contents
from lapse.model.train import require_usable, write_models
from lapse.settings import load_settings


def main() -> None:
    """data/features and data/labels in, models/judged and models/lapse out."""
    settings = load_settings()
    contents = Contents.read(Path("data/validated/contents.json"))
    inputs = feature_inputs(contents, settings.churn.windows, settings.features.model_dump(), Path())
    folders = Path("data/features"), Path("data/labels"), Path("models")
    require_usable(Path("data/reports/usability.json"))
    print("train: fitting the judged model and the one that ships", flush=True)
    judged, ships = write_models(*folders, inputs, settings.churn.windows, settings.train.model_dump())
    for name, bundle in (("judged", judged), ("ships", ships)):
        fit, calibrate = bundle.cutoffs["fit"], bundle.cutoffs["calibrate"]
        print(f"train: {name}: fit on {len(fit)} cutoffs, {fit[0]} to {fit[-1]}, calibrated on {', '.join(calibrate)}")
    print(f"train: ships as {ships.version}")


if __name__ == "__main__":
    run(main)
