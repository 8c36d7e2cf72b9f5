"""Stage lists: what marketing is handed."""

from pathlib import Path

import pandas as pd

from lapse.errors import run
from lapse.model.profit import offer_of
from lapse.outreach.lists import caution_in, say, write_lists
from lapse.settings import load_settings


def main() -> None:
    """data/scores in, the lists in data/lists out."""
    settings = load_settings()
    knobs, offer = settings.lists, offer_of(settings.value.model_dump())
    scores = pd.read_parquet("data/scores/scores.parquet")
    caution = caution_in(Path("data/reports/metrics.json"))
    say(write_lists(scores, Path("data/lists"), knobs.min_risk, knobs.max_customers, caution, knobs.rank_by, offer))


if __name__ == "__main__":
    run(main)
