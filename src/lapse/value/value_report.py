"""Stage evaluate, the money: expected margins against their baselines, and what a campaign would have earned.

A campaign is measured on the customers of the churn model's test cutoff by who really left. What a churner would have
brought, had they stayed, cannot be observed: the value model's expectation stands in for it, and the comparison on those
who stayed shows how far to trust that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lapse.core.bootstrap import OURS, interval
from lapse.core.charts import draw_profit
from lapse.core.files import write_json
from lapse.core.list_settings import Lists
from lapse.core.logging import stage_logger
from lapse.core.paths import Paths
from lapse.core.settings import Train, Value
from lapse.core.windows import ChurnWindows
from lapse.model.bundle import Bundle
from lapse.value.list_back_test import ListShape, back_test_list
from lapse.value.profit import (
    CampaignCosts,
    best_length,
    empc,
    list_order,
    planned_length,
    profit_curve,
    resampled_profit,
    sensitivity,
)
from lapse.value.spend import SpendLog
from lapse.value.value_metrics import margins_at_test, value_cards
from lapse.value.value_model import ValueModel
from lapse.value.value_training import scaled_note

LOG = stage_logger("evaluate")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
RANKING = "expected_profit"
"""The order of the campaign that is reported in full."""
POINTS = 100
FAR_OFF = 1.25
"""Expected total over actual, or the inverse, above which the report warns."""


def write_value_report(
    log: SpendLog,
    paths: Paths,
    *,
    windows: ChurnWindows,
    value: Value,
    train: Train,
    at_risk: AtRisk,
    rounds: int,
) -> dict[str, Any]:
    """Write value.json and the profit curve to the reports, and return the content of value.json.

    Reads test_predictions.parquet there for the risks and outcomes of the churn model's test cutoff.
    """
    evaluation_model, final_model = ValueModel.read(paths.evaluation_model), ValueModel.read(paths.final_model)
    curve: list[dict[str, Any]] = []
    report: dict[str, Any] = {"final_model": final_model.kind, "why": final_model.why, "value_days": final_model.value_days}
    if final_model.kind not in ("none", "contract"):
        # The very rows that stage train decided on, so that both say the same.
        cutoffs = [date.fromisoformat(day) for day in final_model.cutoffs["fit"]]
        rows = log.value_rows(
            paths, cutoffs, windows=windows, days=evaluation_model.learned_days,
            margin_share=evaluation_model.margin_share, most_rows=train.most_rows,
        )  # fmt: skip
        report |= back_test(evaluation_model, rows, final_model.kind, rounds, train.seed)
        # The final model's kind decides which prediction is used: the evaluation model's, or its own last year's spend.
        predictor = replace(evaluation_model, kind=final_model.kind)
        tested = campaign_test(log, paths, predictor, windows.least_lost)
        costs = CampaignCosts.of(value, predictor.usual_order)
        outcome = campaign(costs, tested, value.acceptance_weight, rounds, train.seed)
        tried = back_test_list(
            value, predictor.usual_order, (str(tested.cutoff), tested.churn_risk, tested.expected_margin, tested.churned),
            list_shape(at_risk, Bundle.read(paths.evaluation_model).base_rate), rounds=rounds, seed=train.seed,
        )  # fmt: skip
        report["campaign"] = {"test_cutoff": str(tested.cutoff), **outcome, "list": tried.to_json()}
        curve = curve_points(costs, tested)
    write_json(paths.reports / "value.json", report)
    write_json(paths.reports / "plots" / "profit.json", curve)
    draw_profit(curve, report.get("campaign"), paths.reports / "pictures" / "profit.png")
    return report


@dataclass(frozen=True)
class AtRisk:
    """What params say of the list at risk."""

    lists: Lists
    medium_risk: float | Literal["auto"]
    """score.medium_risk."""


def list_shape(at_risk: AtRisk, base_rate: float) -> ListShape:
    """Return the list at risk as params ask for it; `base_rate`: where medium risk began for the model that is tested."""
    lists = at_risk.lists
    medium = base_rate if at_risk.medium_risk == "auto" else at_risk.medium_risk
    return ListShape(medium if lists.min_risk == "auto" else lists.min_risk, lists.rank_by, lists.max_customers)


@dataclass(frozen=True)
class CampaignTest:
    """The customers of the churn model's test cutoff, on whom a campaign is tried after the fact."""

    cutoff: date
    churn_risk: Floats
    expected_margin: Floats
    churned: Ints


def campaign_test(log: SpendLog, paths: Paths, predictor: ValueModel, least_lost: float) -> CampaignTest:
    """Return the churn model's test predictions with the margins that a value model expected to lose to churn then."""
    predictions = pd.read_parquet(paths.reports / "test_predictions.parquet")
    cutoff = pd.to_datetime(predictions["cutoff_date"]).dt.date.iloc[0]
    rows = pd.read_parquet(paths.features / f"{cutoff}.parquet")
    rows = log.history_rows(rows, cutoff, predictor.margin_share)
    rows = rows.merge(predictions[["customer_id", "churned", "churn_risk"]], on="customer_id", validate="one_to_one")
    risk, churned = rows["churn_risk"].to_numpy("float64"), rows["churned"].to_numpy("int64")
    return CampaignTest(cutoff, risk, predictor.expected_margin(rows) * least_lost, churned)


def back_test(evaluation_model: ValueModel, rows: pd.DataFrame, final_model: str, rounds: int, seed: int) -> dict[str, Any]:
    """Return value.json's part on expected margins."""
    test, expected = margins_at_test(evaluation_model, rows)
    cards = value_cards(test, expected, rounds, seed)
    notes = [scaled_note(evaluation_model)] if evaluation_model.learned_days != evaluation_model.value_days else []
    notes += off_note(cards.get(OURS if final_model == "model" else final_model, {}).get("total_ratio"))
    return {
        "learned_days": evaluation_model.learned_days,
        "note": ". ".join(notes) or None,
        "cutoffs": {role: list(days) for role, days in evaluation_model.cutoffs.items()},
        "retained_customers": len(test),
        "mean_margin": float(test["margin_after"].mean()) if len(test) else None,
        "test": cards.pop(OURS, None),
        "baselines": cards,
    }


def off_note(total_ratio: float | None) -> list[str]:
    """Return a warning where the expected total is far off the actual one."""
    if total_ratio is None or 1 / FAR_OFF <= total_ratio <= FAR_OFF:
        return []
    way = "high" if total_ratio > 1 else "low"
    return [f"Together, customers were expected to bring {total_ratio:.2f} times what they brought after the test cutoff: "
            f"value_at_stake may be too {way} by as much, and so may expected_profit"]  # fmt: skip


def rankings(campaign_costs: CampaignCosts, churn_risk: Floats, expected_margin: Floats) -> dict[str, Floats]:
    """Return what a list may be ranked by."""
    return {
        "churn_risk": churn_risk,
        "value_at_stake": churn_risk * expected_margin,
        RANKING: campaign_costs.expected_profit(churn_risk, expected_margin),
    }


def campaign(
    campaign_costs: CampaignCosts, tested: CampaignTest, acceptance_weight: float, rounds: int, seed: int
) -> dict[str, Any]:
    """Return what contacting the test customers would have earned.

    Per ranking: the length planned from risks alone, what it earns by the outcomes, with a 95% interval over
    customers, and the length that hindsight would have chosen. The planned one is the honest figure.
    """
    churn_risk, expected_margin, churned = tested.churn_risk, tested.expected_margin, tested.churned
    planned = campaign_costs.expected_profit(churn_risk, expected_margin)
    profits = campaign_costs.expected_profit(churned.astype("float64"), expected_margin)
    costs, keys = campaign_costs.expected_cost(churn_risk), rankings(campaign_costs, churn_risk, expected_margin)
    lists = {}
    for name, key in keys.items():
        order, length = list_order(key), planned_length(campaign_costs, churn_risk, expected_margin, key)
        curve, hindsight = profit_curve(profits, order), best_length(profits, costs, order, campaign_costs.budget)
        lists[name] = {
            "planned_length": length,
            "planned_profit": float(profit_curve(planned, order)[length]),
            "planned_cost": float(costs[order[:length]].sum()),
            "profit": float(curve[length]),
            "profit_interval": interval(resampled_profit(profits, order, length, rounds, seed)),
            "hindsight_length": hindsight,
            "hindsight_profit": float(curve[hindsight]),
        }
    # EMPC knows one value for everybody. It is gained from those who would have left, so it is theirs.
    clv = float((churn_risk * expected_margin).sum() / max(churn_risk.sum(), 1e-9))
    value, contacted = empc(churned, churn_risk, clv, campaign_costs, acceptance_weight) or (None, None)
    return {
        "customers": len(churned),
        "assumptions": {**asdict(campaign_costs), "mean_expected_margin": float(expected_margin.mean())},
        "profit_of_contacting_everybody": float(profits.sum()),
        "ranked_by": lists,
        "empc": value,
        "empc_clv": clv,
        "empc_contacted_share": contacted,
        "sensitivity": sensitivity(campaign_costs, churn_risk, expected_margin, churned, keys[RANKING]),
    }


def curve_points(campaign_costs: CampaignCosts, tested: CampaignTest) -> list[dict[str, Any]]:
    """Return the profit of each ranking at every hundredth of its list."""
    churn_risk, expected_margin, churned = tested.churn_risk, tested.expected_margin, tested.churned
    profits = campaign_costs.expected_profit(churned.astype("float64"), expected_margin)
    lengths = np.unique(np.linspace(0, len(churned), POINTS + 1).round().astype("int64"))
    points = []
    for name, key in rankings(campaign_costs, churn_risk, expected_margin).items():
        curve = profit_curve(profits, list_order(key))
        points += [{"ranking": name, "customers": int(n), "profit": float(curve[n])} for n in lengths]
    return points


def print_summary(report: Mapping[str, Any]) -> None:
    """Log what the value model and the campaign came to; one line where there is no money."""
    if report["final_model"] in ("none", "contract"):
        LOG.info(f"value: {report['why']}")
        return
    cards = {**({OURS: report["test"]} if report["test"] else {}), **report["baselines"]}
    errors = ", ".join(f"{name} {card['mae']:,.2f}" for name, card in cards.items())
    LOG.info(f"value: {report['retained_customers']:,} retained customers at {report['cutoffs']['test'][0]} brought "
          f"{report['mean_margin']:,.2f} each in {report['learned_days']} days; mean error {errors}; "
          f"{report['why']}")  # fmt: skip
    if report["note"]:
        LOG.info(f"value: {report['note']}")
    outcome = report["campaign"]
    best, by_risk = outcome["ranked_by"][RANKING], outcome["ranked_by"]["churn_risk"]
    low, high = best["profit_interval"]
    LOG.info(f"profit: contacting {best['planned_length']:,} of {outcome['customers']:,} customers at "
          f"{outcome['test_cutoff']}, by {RANKING}, earns {best['profit']:,.0f} (95% {low:,.0f} to {high:,.0f}); by "
          f"churn_risk {by_risk['profit']:,.0f}, everybody {outcome['profit_of_contacting_everybody']:,.0f}")  # fmt: skip
    worst = min(outcome["sensitivity"], key=lambda row: row["profit_as_planned"])
    LOG.info(f"profit: what would hurt that plan most is {worst['assumption']} {worst['change']:+.0%}: "
          f"{worst['profit_as_planned']:,.0f}, or {worst['profit']:,.0f} when planned for it")  # fmt: skip
