"""Stage score: every eligible customer at as_of gets a calibrated churn risk and its reasons."""

from pathlib import Path

from lapse.engine import open_engine
from lapse.errors import run
from lapse.history.activity import read_activity
from lapse.history.contents import Contents
from lapse.model.bundle import Bundle
from lapse.model.profit import offer_of
from lapse.model.value import ValueModel
from lapse.scoring.bands import bands_for
from lapse.scoring.score import consenting_customers, say, score_customers, with_own_features, write_scores
from lapse.settings import load_settings
from lapse.windows import resolve_as_of


def main() -> None:
    """data/activity and models/lapse in, data/scores/scores.parquet out."""
    settings = load_settings()
    knobs, money = settings.score, settings.value
    contents = Contents.read(Path("data/validated/contents.json"))
    period, as_of = contents.period, resolve_as_of(knobs.as_of, contents.period)
    agreed = consenting_customers(Path("data/validated/customers.parquet"), contents.columns, as_of)
    bundle = with_own_features(Bundle.read(Path("models/lapse")), Path(), settings.features.model_dump()["sql"])
    bands = bands_for(knobs.high_risk, knobs.medium_risk, bundle)
    value = ValueModel.read(Path("models/lapse"))
    worth = value.require(money.value_days, money.margin_share), offer_of(money.model_dump())
    with open_engine() as engine:
        activity = read_activity(engine, Path("data/activity"))
        shown_from = bands.explained_from(settings.lists.min_risk)
        scores = score_customers(engine, activity, as_of, bundle, period, bands, *worth, agreed, shown_from)
    write_scores(scores, Path("data/scores/scores.parquet"))
    say(scores, bands)


if __name__ == "__main__":
    run(main)
