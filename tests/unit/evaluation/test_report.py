"""The report page and the model card: for every grade, a rule, one class, no groups; nothing fetched, no number made up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lapse.core.churn_meaning import ChurnMeaning, Comeback
from lapse.core.files import read_json, write_json
from lapse.core.windows import Period
from lapse.evaluation import evaluate
from lapse.evaluation.backtest import SMALL, SMALL_CLASS, Origin, run_origin
from lapse.evaluation.card import CALIBRATION, model_card, write_card
from lapse.evaluation.evaluate import write_evaluation
from lapse.evaluation.grade import MEANINGS, RULE, CalibrationLimits, Floors
from lapse.evaluation.population import write_population
from lapse.evaluation.report import PICTURES, read_pictures, read_reports, report_page, write_report
from lapse.evaluation.wording import calibrated, cautions, definition, ordered
from lapse.history.profile import DataProfile
from lapse.model.training_procedure import Experiment
from lapse.value.value_model import NO_MONEY
from tests.unit.model.shop import shop_experiment, shop_rows

PROFILE = DataProfile(Period(date(2023, 1, 1), date(2024, 8, 1), date(2024, 8, 1)), {"transactions": ["amount"]})
SEGMENTS = {f"c{n:04}": "<b>gold</b>" if n < 20 else "silver" for n in range(150)}
OWN_NUMBERS = {5, 10, 20, 0.95, 0, 1, SMALL, SMALL_CLASS}
"""Numbers of the page's own words: tops of the list, 95% intervals, what is right, which groups are small."""


def evaluated(
    experiment: Experiment, origins: list[Origin], out: Path, segments: dict[str, str] | None = SEGMENTS, **final_model: Any
) -> Path:
    bundle = replace(origins[-1].bundle, version="0123456789ab", **final_model)
    metrics = write_evaluation(origins, bundle, out, 60, 1, CalibrationLimits(0.05, 0.8, 1.25), segments, Floors())
    write_population(experiment, bundle, PROFILE, metrics, out)
    return out


@pytest.fixture(scope="module")
def tested() -> tuple[Experiment, list[Origin]]:
    experiment = shop_experiment(shop_rows(160), trees=15, calibrate_cutoffs=2)
    return experiment, [run_origin(experiment, cutoff, None) for cutoff in experiment.cutoffs[-2:]]


@pytest.fixture(scope="module")
def reports(tested: tuple[Experiment, list[Origin]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(*tested, tmp_path_factory.mktemp("reports"))


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw none, which takes most of the time: for tests that read words only."""
    monkeypatch.setattr(evaluate, "_draw", lambda *_: None)


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def words_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>|<img[^>]+>", "", page, flags=re.S)))


def leaves(content: Any) -> Iterator[float]:
    if isinstance(content, bool) or content is None:
        return
    if isinstance(content, int | float):
        yield content
    elif isinstance(content, str):
        yield from (float(text) for text in re.findall(r"(?<![\w.])-?\d+\.?\d*", content))
    elif isinstance(content, dict):
        yield from (leaf for part in content.values() for leaf in leaves(part))
    else:
        yield from (leaf for part in content for leaf in leaves(part))


def numbers_in(text: str) -> list[str]:
    bare = re.sub(r"\d{4}-\d\d-\d\d|\b0123456789ab\b|[\w.]*[a-z_][\w.]*|lapse \d[\d.]*", " ", text)
    return re.findall(r"[+-]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+)%?", bare)


def made_up(text: str, predicted: dict[str, Any], also: set[int]) -> list[str]:
    """The numbers in a text that are not a rounding of a figure in the reports."""
    figures = np.array(sorted({*map(float, leaves(predicted)), *map(float, OWN_NUMBERS | also)}))
    wrong = []
    for shown in numbers_in(text):
        value = float(shown.replace(",", "").rstrip("%")) / (100 if shown.endswith("%") else 1)
        digits = len(shown.rstrip("%").partition(".")[2]) + (2 if shown.endswith("%") else 0)
        if not (np.abs(figures - value) <= 0.5001 * 10.0**-digits).any():
            wrong.append(shown)
    return wrong


def test_the_page_opens_without_a_network(reports: Path) -> None:
    page = page_of(reports)
    assert set(re.findall(r'(?:src|href)="([^"]{0,15})', page)) == {"data:image/png;"}
    assert not re.search(
        r"https?:|//[a-z]+\.|<script|<link|@import|url\(", words_of(page) + re.sub(r'src="[^"]+"', "", page)
    )
    assert page.count("<img ") == len(PICTURES)


def test_every_number_is_in_the_reports(reports: Path) -> None:
    predicted = read_reports(reports)
    counted = {len(predicted["metrics"]["pooled"]["cutoffs"]), len(predicted["backtest"]["groups"]), 500, 50,
               *(round(part["n"] * part["churn_rate"]) for part in (predicted["metrics"]["test"],)),
               sum(row["small"] for row in predicted["backtest"]["groups"]), 2,
               len(predicted["backtest"]["choice"]["churn_rates"]), sum(row["features"] for row in predicted["population"]["features"])}  # fmt: skip
    test = predicted["metrics"]["test"]
    counted |= {round(100 * share) for share in (test["churn_rate"], test["lift_at_10pct"] * test["churn_rate"])}
    assert made_up(words_of(page_of(reports)), predicted, counted) == []
    # Mitchell et al. wrote in 2019; nothing else of the card is not in the reports.
    assert made_up(model_card(predicted), predicted, {*counted, 2019}) == []
    assert made_up("0.123456, 98.7% and 7,777", predicted, counted) == ["0.123456", "98.7%", "7,777"]


@pytest.mark.parametrize("letter", "ABCD")
def test_every_grade_says_itself_and_its_rule(reports: Path, letter: str) -> None:
    predicted = json.loads(json.dumps(read_reports(reports)))
    predicted["metrics"]["grade"] |= {"grade": letter, "meaning": MEANINGS[letter], "because": ["because of this"]}
    predicted["metrics"]["caution"] = "worse than a coin" if letter == "D" else None
    page = report_page(predicted, read_pictures(reports))
    assert f'<div class="letter">{letter}</div>' in page and MEANINGS[letter] in page and "Because of this." in page
    for text in (words_of(page), model_card(predicted)):
        assert all(asked in text for asked in RULE.values()), "the table of the grade, in the report and in the card"
    assert ("worse than a coin" in page) == (letter == "D")


@pytest.mark.usefixtures("without_pictures")
def test_a_rule_as_the_final_model(tested: tuple[Experiment, list[Origin]], tmp_path: Path) -> None:
    experiment, origins = tested
    choice = {**origins[-1].bundle.choice, "name": "overdue_ratio", "members": ["overdue_ratio"]}
    predicted = read_reports(evaluated(experiment, origins, tmp_path, kind="rule", choice=choice))
    for text in (words_of(page_of(tmp_path)), model_card(predicted)):
        assert "The rule overdue_ratio" in text and "The final model is a rule of thumb" in text


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("share", [0.91, 0.1, None])
def test_they_left_is_said_only_where_few_come_back(
    tested: tuple[Experiment, list[Origin]], tmp_path: Path, share: float | None
) -> None:
    experiment, origins = tested
    comeback = Comeback(experiment.windows.horizon_days, 206, 900, share)
    meaning = ChurnMeaning("lapse", experiment.windows.horizon_days, comeback, by_gap=(comeback,) * 8)
    predicted = read_reports(evaluated(experiment, origins, tmp_path, meaning=meaning))
    for text in (words_of(page_of(tmp_path)), model_card(predicted)):
        assert (re.search(r"\bleft\b", text.replace("not that they left", "").replace("left alone", "")) is not None) == (
            share == 0.1
        )
        assert meaning.sentences[0] in text
        assert f"customers who {meaning.left} after" in text


def test_one_class_only(tested: tuple[Experiment, list[Origin]], tmp_path: Path) -> None:
    experiment, origins = tested
    nobody = replace(origins[-1], rows=origins[-1].rows.assign(churned=0))
    predicted = read_reports(evaluated(experiment, [nobody], tmp_path))
    assert predicted["metrics"]["grade"]["grade"] == "D"
    for text in (words_of(page_of(tmp_path)), model_card(predicted)):
        assert "nothing can be ranked" in text and "nan" not in text.casefold().split() and "None" not in text
        assert "There is only one test cutoff" in text


@pytest.mark.usefixtures("without_pictures")
def test_without_segments_and_tenure(tested: tuple[Experiment, list[Origin]], tmp_path: Path) -> None:
    experiment, origins = tested
    bare = [replace(origin, rows=origin.rows.drop(columns="tenure_days")) for origin in origins]
    predicted = read_reports(evaluated(experiment, bare, tmp_path, segments=None))
    assert predicted["backtest"]["groups"] == []
    assert "By segment" not in page_of(tmp_path) and "The data have no segments" in model_card(predicted)


def test_groups_are_in_order_escaped_and_the_small_ones_marked(reports: Path) -> None:
    page, groups = page_of(reports), read_json(reports / "backtest.json")["groups"]
    assert "&lt;b&gt;gold" in page and "<b>gold" not in page
    assert page.count('<tr class="few">') == sum(row["small"] for row in groups) > 0
    bands = [
        {"by": "tenure", "value": value}
        for value in ("over 730 days", "366 to 730 days", "not known", "up to 90 days", "91 to 180 days")
    ]
    assert [row["value"] for row in ordered([*bands, {"by": "segment", "value": "9 lives"}])] == [
        "9 lives", "up to 90 days", "91 to 180 days", "366 to 730 days", "over 730 days", "not known"]  # fmt: skip


def test_segments_that_know_the_future_are_suspected(reports: Path) -> None:
    predicted = read_reports(reports)
    group = {"by": "segment", "n": 1000, "small": False, "ece": 0.0, "ece_by_chance": 0.0, "mean_risk": 0.1}
    blank = {**group, "value": "not given", "churners": 300, "churn_rate": 0.3}
    given = {**group, "value": "gold", "churners": 20, "churn_rate": 0.02}
    alike = {**given, "churners": 200, "churn_rate": 0.2}
    suspected = [
        "filled in later" in " ".join(cautions(predicted["metrics"], pair, [])) for pair in ([blank, given], [blank, alike])
    ]
    assert suspected == [True, False]


def test_the_definition_says_the_windows() -> None:
    lapse = {"mode": "lapse", "active_days": 91, "horizon_days": 32, "lead_days": 0, "renewal_days": 0}
    assert "91 days up to" in definition(lapse)[0] and "32 days after the cutoff." in definition(lapse)[1]
    assert "first 4 days" in definition({**lapse, "lead_days": 4})[1]
    contract = definition({**lapse, "mode": "subscription", "renewal_days": 15})
    assert "subscription" in contract[0] and "15 days" in contract[1]


def test_the_card_is_the_same_bytes_and_points_to_a_picture_that_is_there(reports: Path, tmp_path: Path) -> None:
    cards = [tmp_path / "models" / name for name in ("README.md", "again.md")]
    for card in cards:
        write_card(reports, card)
    text = cards[0].read_text(encoding="utf-8")
    assert text.encode() == cards[1].read_bytes()
    assert f"({CALIBRATION})" in text and (reports / "pictures" / Path(CALIBRATION).name).exists()
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 6 and all(len({line.replace("\\|", "").count("|") for line in lines}) == 1 for lines in tables)


def test_a_value_section_only_where_there_is_one(reports: Path) -> None:
    assert "would have earned" not in page_of(reports)
    row = {
        "planned_length": 12,
        "planned_profit": 90.0,
        "profit": 80.5,
        "profit_interval": [10.0, 150.0],
        "hindsight_length": 15,
        "hindsight_profit": 99.0,
    }
    change = {"assumption": "contact_cost", "change": 0.5, "profit_as_planned": 70.0, "planned_length": 9, "profit": 75.0}
    campaign = {"customers": 300, "assumptions": {"contact_cost": 1.0, "budget": None}, "ranked_by": {"churn_risk": row},
                "profit_of_contacting_everybody": -1234.0, "sensitivity": [change]}  # fmt: skip
    value = {
        "final_model": "model",
        "why": "it is better",
        "value_days": 90,
        "campaign": campaign,
        "test": {"mae": 4.5},
        "baselines": {"last_year": {"mae": None}},
    }
    try:
        write_json(reports / "value.json", value)
        words = words_of(page_of(reports))
        assert all(text in words for text in ("would have earned", "-1,234", "10 to 150", "+50%", "lapse 4.50"))
        write_json(reports / "value.json", {"final_model": "none", "why": NO_MONEY, "value_days": 90})
        assert NO_MONEY in words_of(page_of(reports))
    finally:
        (reports / "value.json").unlink()


def test_base_rate_points_know_what_was_predicted(reports: Path) -> None:
    points = pd.DataFrame(read_json(reports / "plots" / "base_rate.json"))
    assert points["mean_risk"].notna().tolist() == [False] * (len(points) - 2) + [True, True]
    assert ((points["low"] < points["churn_rate"]) & (points["churn_rate"] < points["high"])).all()


@pytest.mark.parametrize(
    ("missed", "phrase"), [(None, None), (0.0, None), (0.004, "less than 1% is added"), (0.62, "62% is added")]
)
def test_the_season_is_named_where_there_is_one(missed: float | None, phrase: str | None) -> None:
    choice = {
        "calibration": "platt",
        "calibration_log_loss": {},
        "churn_rates": {"2024-01-01": 0.2},
        "calibration_intercept": 0.1,
    }
    if missed is not None:  # a bundle of an older lapse says nothing of it
        choice["season_missed"] = missed
    text = calibrated(choice)
    assert phrase in text if phrase else "added" not in text
