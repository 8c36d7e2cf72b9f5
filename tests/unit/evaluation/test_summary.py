"""What experiments are compared by fits a screen, and names what could not be measured by leaving it out."""

from __future__ import annotations

from lapse.core.files import read_json
from lapse.evaluation.summary import summary
from tests.conftest import ROOT


def test_the_numbers_are_those_of_the_reports_and_few() -> None:
    metrics, value = (read_json(ROOT / f"data/reports/{name}.json") for name in ("metrics", "value"))
    found = summary(metrics, value)
    assert found["test"]["auroc"] == metrics["test"]["auroc"] and found["value"]["mae"] == value["test"]["mae"]
    assert found["pooled"]["ece"] == metrics["pooled"]["test"]["ece"]
    assert sum(map(len, found.values())) <= 20


def test_what_could_not_be_measured_is_left_out() -> None:
    assert summary({"test": {"auroc": 0.5, "brier": None}}, {"test": None}) == {"test": {"auroc": 0.5}}
