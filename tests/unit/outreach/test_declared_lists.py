"""Lists that params declare: who is on which, why everybody else is not, and what each says of itself, counted again."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
import python_calamine

from lapse.core.engine import Engine, open_duckdb
from lapse.core.errors import DataError, LapseError, SettingsError
from lapse.core.list_settings import ACTIONS, READY_MADE, Lists
from lapse.core.settings import load_settings
from lapse.core.tables.lists import LISTED
from lapse.outreach import workbook
from lapse.outreach.budget import BestList, best_list
from lapse.outreach.decisions import matching
from lapse.outreach.expected import expected_of
from lapse.outreach.exports import SINCE, export_list
from lapse.outreach.heads import ListHead
from lapse.outreach.listed import analyst_rows, listed_rows
from lapse.outreach.plans import list_plans
from lapse.outreach.rules import ListRules
from lapse.outreach.scored_customers import scored_customers
from lapse.outreach.stage import MadeLists, read_made, write_lists
from lapse.outreach.verdict import Verdict
from lapse.scoring.consent import ConsentRecord, consent_of
from lapse.value.list_back_test import ListBackTest
from lapse.value.profit import CampaignCosts, best_subset
from tests.conftest import ROOT
from tests.unit.outreach.shop import ACTIVE_DAYS, AS_OF, Rows, raw_rows, settings, told
from tests.unit.outreach.test_scored_customers import day, recount

Facts = dict[str, Any]
GONE, USUAL = ("leaving", "contacted", "complaint_open"), ("gone", "leaving", "contacted", "complaint_open")


def made_lists(
    engine: Engine, rows: Rows, folder: Path, scored: list[str], *, verdict: Verdict | None = None, **lists: Any
) -> MadeLists:
    """What stage lists makes of the shop with section lists changed."""
    with_lists = settings(lists={"declared": {}, **lists}, value={"contact_cost": 1.0, "incentive_cost": 2.0})
    (folder / "validated").mkdir(parents=True, exist_ok=True)
    here = told(engine, rows, folder / "validated", scored)
    rules = ListRules(with_lists.lists, with_lists.value.budget, with_lists.churn.windows, verdict or Verdict())
    return write_lists(engine, here, folder / "lists", rules, with_lists)


def active(rows: Rows) -> list[str]:
    days = {row["customer_id"]: day(row["ordered_at"]) for row in rows["lines"]
            if row["amount"] > 0 and day(row["ordered_at"]) <= AS_OF}  # fmt: skip
    for row in rows["lines"]:
        if row["amount"] > 0 and day(row["ordered_at"]) <= AS_OF:
            days[row["customer_id"]] = max(days[row["customer_id"]], day(row["ordered_at"]))
    return sorted(who for who, last in days.items() if (AS_OF - last).days < ACTIVE_DAYS)


def head(made: MadeLists, name: str) -> ListHead:
    return next(one for one in made.heads if one.plan.name == name)


def on(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "lists" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


NAMED: dict[str, tuple[Callable[[Facts], bool], tuple[str, ...], Callable[[Facts], Any]]] = {
    "let_go": (lambda f: f["profit"] is not None and f["profit"] < 0, (), lambda f: f["profit"]),
    "at_risk": (lambda f: f["risk"] is not None and f["risk"] > 0.3, (*GONE, "no_profit"), lambda f: -f["stake"]),
    "lukewarm": (lambda f: f["state"] == "active" and (f["rating_count"] or 0) >= 3 and (f["rating_trend"] or 0) < 0
                 and f["rating_level"] < 0.67 and (f["days_overdue"] or 0) <= 0, USUAL, lambda f: f["rating_trend"]),
    "just_seen": (lambda f: f["seen"] == 0 or (f["since"] == 0 and (f["last_gap_days"] or 0) >= ACTIVE_DAYS), USUAL,
                  lambda f: f["last_gap_days"] or 10**6),
    "second_order": (lambda f: f["state"] in ("active", "new") and f["order_count"] == 1 and f["since"] <= 30, USUAL,
                     lambda f: f["since"]),
    "recent_leavers": (lambda f: f["state"] == "lapsed" and f["since"] - ACTIVE_DAYS <= 30, GONE, lambda f: f["since"]),
    "win_back": (lambda f: f["state"] == "lapsed" and f["since"] - ACTIVE_DAYS <= 730, GONE, lambda f: -f["net_spend"]),
    "milestones": (lambda f: f["state"] == "active" and (f.get("days_to_anniversary") or 99) <= 7, USUAL,
                   lambda f: f["days_to_anniversary"]),
    "dear": (lambda f: f["since"] is not None and (f["net_spend"] or 0) > 50, USUAL, lambda f: -f["net_spend"]),
}  # fmt: skip
"""List -> its rule, whom it keeps off and its order in plain Python, in the order of the priorities."""


def facts(rows: Rows, who: str, trusted: date, scores: dict[str, dict[str, Any]]) -> Facts:
    found = recount(rows, who, trusted)
    told_of, consent = scores.get(who), next(r["consent"] for r in rows["customers"] if r["customer_id"] == who)
    since = found["days_since_last_order"]
    state = "active" if told_of else "prospect" if since is None else "new" if since < ACTIVE_DAYS else "lapsed"
    return {
        **found, "who": who, "state": state, "since": since, "seen": found["days_since_first_seen"], "consent": consent,
        "profit": found["profit_last_year"], "risk": told_of and told_of["churn_risk"],
        "stake": told_of and told_of["value_at_stake"], "expected_profit": told_of and told_of["expected_profit"],
        "margin": told_of and told_of["expected_margin"], "spend": found["spend_last_year"],
    }  # fmt: skip


def why_off(name: str, f: Facts) -> str | None:
    if name != "let_go" and f["consent"] != "true":
        return "no_consent"
    touched = f["days_since_last_contact"]
    holds = {"gone": f["state"] == "lapsed", "contacted": touched is not None and touched < 30,
             "complaint_open": f["open_complaints"] > 0,
             "no_profit": f["expected_profit"] is not None and f["expected_profit"] <= 0}  # fmt: skip
    return next((reason for reason in NAMED[name][1] if holds.get(reason)), None)


@pytest.mark.parametrize("seed", [5, 6])
def test_who_is_on_which_list_and_why_not_counted_again_from_raw_rows(engine: Engine, tmp_path: Path, seed: int) -> None:
    rows = raw_rows(seed, customers=120)
    scored = active(rows)
    declared: dict[str, Any] = {name: {} for name in NAMED if name not in ("at_risk", "dear")}
    declared["dear"] = {"rule": "days_since_last_order IS NOT NULL AND net_spend > 50", "order": "net_spend", "limit": 1}
    declared["best_customers"] = {"priority": 2_000}
    made = made_lists(engine, rows, tmp_path, scored, declared=declared)
    table, decisions = read_made(tmp_path / "lists")
    trusted = table.loc[table["tenure_is_known"], "first_seen_date"].min()
    of_scores = {row["customer_id"]: row for row in table.dropna(subset=["churn_risk"]).to_dict("records")}
    everybody = [facts(rows, who, trusted, of_scores) for who in table["customer_id"]]
    taken: set[str] = set()
    reasons: Counter[str] = Counter()
    for name, (rule, _, order) in NAMED.items():
        off: Counter[str] = Counter()
        waiting = []
        for f in everybody:
            if rule(f):
                reason = why_off(name, f) or ("other_list" if f["who"] in taken else None)
                off.update([reason] if reason else [])
                waiting += [] if reason else [f]
        waiting.sort(key=lambda f: (order(f), -(f["risk"] or -1), -(f["spend"] or -1e9), f["who"]))
        if name == "dear" and len(waiting) > 1:
            off["over_capacity"], waiting = len(waiting) - 1, waiting[:1]
        ranked = decisions.listed(name)["customer_id"].tolist()
        assert ranked == [f["who"] for f in waiting], name
        assert [row["customer_id"] for row in on(tmp_path, name)] == ranked
        said = head(made, name)
        assert said.people == len(waiting) and dict(said.kept_off) == dict(off), name
        stakes = [f["stake"] for f in waiting if f["stake"] is not None]
        assert (said.at_stake is None) == (not stakes) and sum(stakes) == pytest.approx(said.at_stake or 0)
        taken |= {f["who"] for f in waiting}
        reasons += off
    assert {"no_consent", "gone", "contacted", "complaint_open", "no_profit", "other_list", "over_capacity"} <= set(reasons)
    whole = decisions.rows
    assert (whole["rank"].isna() ^ whole["kept_off"].isna()).all() and not whole.duplicated(["list", "customer_id"]).any()
    assert whole.loc[whole["rank"].notna(), "customer_id"].is_unique, "one customer on one list"
    placed = whole[whole["rank"].notna()].set_index("customer_id")["list"]
    elsewhere = whole[whole["kept_off"] == "other_list"]
    assert elsewhere["other_list"].tolist() == placed.loc[elsewhere["customer_id"]].tolist()


def test_the_workbook_the_files_and_the_heads_say_the_same(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(5, customers=120)
    declared = {"second_order": {}, "win_back": {}, "trial_ending": {}, "leaving": {},
                "dear": {"rule": "net_spend > 0", "action": "=cmd()"}}  # fmt: skip
    made = made_lists(engine, rows, tmp_path, active(rows), declared=declared)
    told_of = {one["name"]: one for one in json.loads((tmp_path / "lists/lists.json").read_text(encoding="utf-8"))}
    book = python_calamine.CalamineWorkbook.from_path(tmp_path / "lists/lists.xlsx")
    assert book.sheet_names[0] == "Overview" and "leaving" not in book.sheet_names
    assert told_of["leaving"]["summary"] == "Off: it needs subscriptions with a day of notice (churn.mode: subscription)."
    overview = {row[1]: row for row in book.get_sheet_by_name("Overview").to_python()[1:]}
    for name in ("second_order", "win_back", "trial_ending", "dear"):
        sheet = book.get_sheet_by_name(name).to_python()
        first = next(place for place, row in enumerate(sheet) if row[0] == "Rank")
        ids = [row["customer_id"] for row in on(tmp_path, name)]
        assert [row[1] for row in sheet[first + 1 :] if row[0] != ""] == ids
        assert told_of[name]["people"] == len(ids) == overview[name][2] == head(made, name).people
        assert overview[name][4] == sum(told_of[name]["kept_off"].values())
        assert f"{len(ids):,} p" in str([row[0] for row in sheet[:first]])
    dear = on(tmp_path, "dear")
    assert list(dear[0]) == list(LISTED.names) and {row["action"] for row in dear} == {"'=cmd()"}
    assert not {"model_version", "reason_1_code"} & set(dear[0])
    for_analysts = analyst_rows(*read_made(tmp_path / "lists"), "dear")
    assert {"model_version", "reason_1_code", "state", "attribute_region"} <= set(for_analysts.columns)
    again = tmp_path / "again"
    made_lists(engine, rows, again, active(rows), declared=declared)
    for path in (tmp_path / "lists").iterdir():
        assert path.read_bytes() == (again / "lists" / path.name).read_bytes(), path.name
    made_lists(engine, rows, tmp_path, active(rows), declared={"win_back": {}})
    assert {path.stem for path in (tmp_path / "lists").glob("*.csv")} == {"at_risk", "leaving", "win_back"}, "old lists go"


def test_a_sheet_ends_where_a_spreadsheet_would_not_open_and_says_so(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workbook.MOST_ROWS == 50_000
    monkeypatch.setattr(workbook, "MOST_ROWS", 3)
    rows = raw_rows(5, customers=120)
    made_lists(engine, rows, tmp_path, active(rows), declared={"dear": {"rule": "net_spend > 0"}})
    sheet = python_calamine.CalamineWorkbook.from_path(tmp_path / "lists/lists.xlsx").get_sheet_by_name("dear").to_python()
    first, listed = next(place for place, row in enumerate(sheet) if row[0] == "Rank"), len(on(tmp_path, "dear"))
    assert len(sheet) == first + 1 + 3 and listed > 3
    assert f"Not all: The first 3 of {listed} customers; dear.csv holds all." in [row[0] for row in sheet]


def test_the_list_at_risk_keeps_its_file_and_counts_whom_the_others_take(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(6, customers=120)
    for row in rows["customers"]:
        row["consent"] = "true"
    quiet = {**rows, "contacts": [], "events": []}
    scored = active(rows)
    made_lists(engine, quiet, tmp_path / "quiet", scored)
    plain = [row["customer_id"] for row in on(tmp_path / "quiet", "at_risk")]
    first = {"declared": {"mine": {"rule": "order_count > 2", "priority": 1}}}
    made = made_lists(engine, rows, tmp_path / "busy", scored, **first)
    busy, tally = [row["customer_id"] for row in on(tmp_path / "busy", "at_risk")], made.at_risk.tally
    assert set(busy) < set(plain) and busy == [who for who in plain if who in busy]
    assert tally.listed == len(busy) and tally.at_risk == tally.listed + sum(tally.kept_off.values())
    # Whoever is not expected to pay is so whatever else holds.
    assert {"contacted", "complaint_open", "other_list"} <= {reason for reason, count in tally.elsewhere.items() if count}
    said = head(made, "at_risk")
    assert said.people == len(busy) and sum(said.kept_off.values()) == sum(tally.kept_off.values())
    longer = made_lists(engine, rows, tmp_path / "long", scored, cooldown_days=0, **first)
    later = sum(day(row["contacted_at"]) > AS_OF for row in rows["contacts"] if row["customer_id"] in scored)
    assert 0 < longer.at_risk.tally.elsewhere["contacted"] <= later, "who was contacted after the day stays off"


def test_the_list_of_the_leaving_is_the_file_of_the_leaving(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(9, customers=40)
    given = settings(churn={"mode": "subscription"}, lists={"declared": {"recent_leavers": {"consent": "not_refused"}}},
                     sources={"subscriptions": {"path": "s", "columns": {"customer_id": "a", "started_date": "b"}}})  # fmt: skip
    everybody = sorted({row["customer_id"] for row in rows["subscriptions"]})
    (tmp_path / "validated").mkdir()
    here = told(engine, rows, tmp_path / "validated", everybody[12:], everybody[:12])
    agreed = {row["customer_id"] for row in rows["customers"] if row["consent"] == "true"}
    leaving = here.leaving.assign(
        may_contact=here.leaving["customer_id"].isin(agreed), consent=None,
        end_date=[None if i == 3 else AS_OF + timedelta(days=1 + i % 3) for i in range(12)],
    )  # fmt: skip
    rules = ListRules(given.lists, None, given.churn.windows)
    made = write_lists(engine, replace(here, leaving=leaving), tmp_path / "lists", rules, given)
    ids = [row["customer_id"] for row in on(tmp_path, "leaving")]
    assert ids == read_made(tmp_path / "lists")[1].listed("leaving")["customer_id"].tolist()
    touched = {row["customer_id"] for row in rows["contacts"] if day(row["contacted_at"]) > AS_OF - timedelta(days=30)}
    tickets = Counter(dict.fromkeys(everybody, 0))
    for row in rows["events"]:
        if day(row["occurred_at"]) <= AS_OF:
            tickets[row["customer_id"]] += {"opened": 1, "closed": -1}.get(row["event_type"], 0)
    wanted = [who for i, who in enumerate(everybody[:12])
              if i != 3 and who in agreed and who not in touched and tickets[who] <= 0]  # fmt: skip
    assert sorted(ids) == wanted and len(wanted) < len(agreed & set(everybody[:12]))
    said = head(made, "leaving")
    assert said.people == len(wanted) and said.people + sum(said.kept_off.values()) == 11
    assert not head(made, "recent_leavers").plan.is_off


def test_an_action_for_no_reason_is_named(engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = raw_rows(6)
    made_lists(engine, rows, tmp_path, active(rows), actions={"discount": "an offer", "otherwise": "write"})
    said = capsys.readouterr()
    assert "lists.actions: no reason has the code 'discount'. Did you mean 'discounts'?" in said.out + said.err


def test_a_list_says_how_such_a_list_did(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(6)
    tried = ListBackTest("2024-05-31", 200, 120.0, (10.0, 300.0), 1.0, 2.0, None, 41)
    verdict = Verdict(grade="B", caution="weak", back_test=tried)
    said = head(made_lists(engine, rows, tmp_path, active(rows), verdict=verdict), "at_risk").sentences
    assert said["Back-test"] == "Last time, at 2024-05-31, 41 of 200 did not order in the next 30 days."
    about = (tmp_path / "lists/at_risk_about.txt").read_text(encoding="utf-8")
    assert "Back-test: Last time, at 2024-05-31, 41 of 200 did not order" in about
    assert said["CAUTION"] == "weak." and said["Model"] == "grade B" and f"as of {AS_OF}." in said["List"]
    lossy = Verdict(back_test=ListBackTest("2024-05-31", 9, -5.0, None, 1.0, 2.0, None, 0))
    lost = head(made_lists(engine, rows, tmp_path, active(rows), verdict=lossy), "at_risk")
    assert lost.people == 0 and lost.kept_off["list_at_a_loss"] > 0


def test_actions_follow_the_reasons_that_marketing_edits(engine: Engine, tmp_path: Path) -> None:
    assert load_settings(ROOT / "params.yaml").lists.actions == ACTIONS, "params show what holds without them"
    rows = raw_rows(6)
    actions = {"trouble": "ring them", "otherwise": "write"}
    made_lists(engine, rows, tmp_path, active(rows), actions=actions, declared={"all": {"rule": "state <> 'gone'"}})
    table, decisions = read_made(tmp_path / "lists")
    code = table.set_index("customer_id")["reason_1_code"]
    of_all = decisions.rows[decisions.rows["list"] == "all"]
    assert len(of_all) == len(table)
    for row in of_all.to_dict("records"):
        assert row["action"] == ("ring them" if code[row["customer_id"]] == "trouble" else "write")


def test_a_budget_gives_the_list_with_the_largest_expected_profit(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(7, customers=120)
    for row in rows["customers"]:
        row["consent"] = "true"
    declared = {"spend": {"rule": "churn_risk >= 0", "budget": 20.0, "priority": 1}}
    said = head(made_lists(engine, rows, tmp_path, active(rows), declared=declared), "spend")
    table, _ = read_made(tmp_path / "lists")
    chosen = table[table["customer_id"].isin([row["customer_id"] for row in on(tmp_path, "spend")])]
    assert len(chosen) > 3 and 15 < chosen["expected_cost"].sum() <= 20
    expected = said.expected
    assert expected is not None and expected.contacts == len(chosen)
    # Section value of the repository: three in ten accept; all who would have stayed take the voucher.
    risks, margins = chosen["churn_risk"].tolist(), chosen["expected_margin"].tolist()
    saved, alarms = sum(0.3 * risk for risk in risks), sum(1 - risk for risk in risks)
    cost = sum(1 + 2 * (0.3 * risk + 1 - risk) for risk in risks)
    assert (expected.saved, expected.false_alarms, expected.cost) == pytest.approx((saved, alarms, cost))
    assert expected.profit == pytest.approx(sum(0.3 * r * m for r, m in zip(risks, margins, strict=True)) - cost)
    with pytest.raises(DataError, match=r"lists.declared.gone.budget: of none of its \d+ customers"):
        made_lists(engine, rows, tmp_path, active(rows),
                   declared={"gone": {"rule": "state = 'lapsed'", "budget": 20.0, "keep_off": []}})  # fmt: skip


def test_the_best_list_within_a_budget_may_take_whom_the_limit_kept_off(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(7, customers=120)
    for row in rows["customers"]:
        row["consent"] = "true"
    made_lists(engine, rows, tmp_path, active(rows), max_customers=2)
    table, decisions = read_made(tmp_path / "lists")
    given = settings(value={"contact_cost": 1.0, "incentive_cost": 2.0})

    def best(money: float | None, contacts: int | None, name: str = "at_risk") -> BestList:
        return best_list(table, decisions, name, money=money, contacts=contacts, settings=given, verdict=Verdict())

    named = decisions.rows[decisions.rows["list"] == "at_risk"]
    free = named.loc[~named["kept_off"].isin(["contacted", "complaint_open", "other_list"]), "customer_id"]
    worth = table[table["customer_id"].isin(free) & (table["expected_profit"] > 0)].sort_values("expected_profit")
    assert len(worth) > 6 and best(None, 4).of == len(free)
    assert (
        listed_rows(table, best(None, 4).decisions, "at_risk")["customer_id"].tolist()
        == worth["customer_id"].tolist()[:-5:-1]
    )
    assert best(1e6, None).people == best(None, 999).people == len(worth), "nobody at a loss"
    some, more = best(5.0, None).expected, best(10.0, None).expected
    assert some is not None and more is not None and 0 < some.contacts < more.contacts <= len(worth)
    assert 3 < some.cost <= 5 < more.cost <= 10 and 0 < some.profit < more.profit
    for money, contacts, name, said in ((None, None, "at_risk", "say how much"), (5.0, None, "nobody", "names nobody")):
        with pytest.raises(SettingsError, match=said):
            best(money, contacts, name)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_list_within_the_budget_earns_much_more(seed: int) -> None:
    random = np.random.default_rng(seed)
    profits, costs = random.normal(3, 4, 9), random.uniform(0.5, 4, 9)
    profits[0] = np.nan
    every = [list(some) for size in range(10) for some in combinations(range(1, 9), size)]
    for budget in (0.4, 3.0, 8.0, 100.0):
        ours = best_subset(profits, costs, budget=budget)
        best = max(profits[some].sum() for some in every if costs[some].sum() <= budget)
        assert costs[ours].sum() <= budget + 1e-3
        assert best - max(0.0, float(np.nanmax(profits))) <= profits[ours].sum() <= best + 1e-9
    for most in (1, 3, 9):
        best = max(profits[some].sum() for some in every if len(some) <= most)
        assert profits[best_subset(profits, costs, most=most)].sum() == pytest.approx(best)
    assert len(best_subset(-np.abs(costs), costs)) == 0, "nobody at a loss"


def test_the_intervals_hold_what_comes_of_such_lists() -> None:
    random = np.random.default_rng(5)
    listed = pd.DataFrame({"customer_id": [f"{i:03}" for i in range(200)], "churn_risk": random.uniform(0.1, 0.9, 200),
                           "expected_margin": random.gamma(2, 40, 200)})  # fmt: skip
    costs = CampaignCosts(1.0, 5.0, 0.3)
    found = expected_of(listed, costs, 20, rounds=2_000, seed=7)
    assert found is not None and found == expected_of(listed.sample(frac=1, random_state=1), costs, 20, rounds=2_000, seed=7)
    inside = 0
    for _ in range(400):
        accepts, leaves = random.beta(6, 14), random.random(200) < listed["churn_risk"]
        saved = leaves & (random.random(200) < accepts)
        profit = (listed["expected_margin"] * saved).sum() - 200 - 5 * (saved.sum() + (~leaves).sum())
        inside += found.profit_interval[0] <= profit <= found.profit_interval[1]
    assert 0.92 <= inside / 400 <= 0.98
    assert found.saved_interval[0] < found.saved < found.saved_interval[1]
    assert expected_of(listed.assign(expected_margin=None), costs, 20, rounds=100, seed=7) is None
    assert "stay who would not have" in found.text


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"mine": {"rule": "chrn_risk > 0.5"}}, "lists.declared.mine.rule: no column 'chrn_risk'. Did you mean 'churn_risk'?"),
        ({"mine": {"rule": "attribute_regoin = 'N'"}}, "Did you mean 'attribute_region'"),
        ({"mine": {"rule": "risk_band > 5"}}, "compares a number with a text"),
        ({"mine": {"rule": "churn_risk"}}, "is a number where a flag is needed"),
        ({"mine": {"rule": "churn_risk > 0.5 AND customer_id IN (SELECT 'a')"}}, "needs a list of values"),
        ({"mine": {"rule": "exists(FROM read_csv('/etc/passwd'))"}}, "is not possible in a rule"),
        ({"mine": {"rule": "getenv('HOME') = 'a'"}}, "is not possible in a rule"),
        ({"mine": {"rule": "churn_risk > 0.5; DROP TABLE x"}}, "is not one SQL condition"),
        ({"mine": {"rule": "risk_band = NULL"}}, "write IS NULL"),
        ({"mine": {"rule": "last_order_date > '31.12.2023'"}}, "is no day"),
        ({"mine": {"rule": "churn_risk > 0.5", "order": "vlaue_at_stake"}}, "Did you mean 'value_at_stake'?"),
        ({"mine": {"rule": "churn_risk > 0.5", "order": "churn_risk upwards"}}, "is no order"),
        ({"mine": {"rule": "churn_risk > 0.5", "consent": "not_needed"}}, "not_needed would list customers who said no"),
        ({"changes": {"rule": "churn_risk > 0.5"}}, "changes.csv of a night says who is new"),
        ({"win_bakc": {}}, "Did you mean 'win_back'?"),
        ({"at_risk": {"rule": "churn_risk > 0.5"}}, "is said by lists.min_risk"),
        ({"My list": {"rule": "churn_risk > 0.5"}}, "My list"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_followed_is_refused_with_the_settings(declared: dict[str, Any], said: str) -> None:
    with pytest.raises((SettingsError, ValueError), match=None) as refused:
        settings(lists={"declared": declared}, sources={"customers": {
            "path": "c", "columns": {"customer_id": "a"}, "attributes": ["region"]}})  # fmt: skip
    assert said in str(refused.value)


MEANT: dict[str, Callable[[Any], bool]] = {
    "state IN ('active', 'new') AND NOT order_count < 3": lambda r: r.state in ("active", "new") and r.order_count >= 3,
    "coalesce(churn_risk, 0) + 0.1 > 0.5 OR segment LIKE 'a%'":
        lambda r: (0 if pd.isna(r.churn_risk) else r.churn_risk) + 0.1 > 0.5 or r.segment == "a",
    "last_order_date BETWEEN DATE '2024-01-01' AND '2024-05-31'":
        lambda r: r.last_order_date is not None and date(2024, 1, 1) <= r.last_order_date <= date(2024, 5, 31),
    "may_contact IS FALSE OR -days_overdue > 10":
        lambda r: not r.may_contact or (not pd.isna(r.days_overdue) and r.days_overdue < -10),
    "attribute_region = 'N' AND upper(segment) = 'B'": lambda r: r.attribute_region == "N" and r.segment == "b",
    "cost_to_serve IS NOT NULL AND abs(profit_last_year) >= cost_to_serve * 2":
        lambda r: abs(r.profit_last_year) >= r.cost_to_serve * 2,
}  # fmt: skip
"""Rule -> the same in plain Python."""


def test_a_rule_means_what_it_says(engine: Engine, tmp_path: Path) -> None:
    rows, declared = raw_rows(8), {f"list_{n}": {"rule": rule} for n, rule in enumerate(MEANT)}
    given = settings(lists={"declared": declared}, sources={"customers": {
        "path": "c", "columns": {"customer_id": "a"}, "attributes": ["region", "age"]}})  # fmt: skip
    here = told(engine, rows, tmp_path, active(rows))
    table = scored_customers(engine, here, given)
    with open_duckdb() as closed:
        named = matching(closed, table, list_plans(given, here.profile), tmp_path)
        with pytest.raises(duckdb.PermissionException):
            closed.connection.execute("SELECT * FROM read_csv('/etc/passwd')")
    for n, holds in enumerate(MEANT.values()):
        wanted = {row.customer_id for row in table.itertuples() if holds(row)}
        assert 0 < len(wanted) < len(table) and set(table.loc[named[f"list_{n}"], "customer_id"]) == wanted


def test_lists_that_the_data_cannot_support_say_what_they_need(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(6)
    plain = settings(lists={"declared": {name: {} for name in READY_MADE}})
    here = told(engine, rows, tmp_path, active(rows))
    here.profile.columns.clear()
    here.profile.columns["transactions"] = ["customer_id", "ordered_at"]
    made = write_lists(engine, here, tmp_path / "lists", ListRules(plain.lists, None, plain.churn.windows), plain)
    off = {one.plan.name: one.summary for one in made.heads if one.plan.is_off}
    assert set(off) == {"win_back", "leaving", "best_customers", "trial_ending", "lukewarm", "let_go"}
    assert "sources.customers: consent" in off["win_back"] and "sources.feedback" in off["lukewarm"]
    assert all(one.people == 0 and not one.kept_off for one in made.heads if one.plan.is_off)
    with pytest.raises(LapseError, match="Make the lists first"):
        read_made(tmp_path / "nowhere")


def test_an_export_holds_the_list_and_only_the_analyst_gets_codes(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(5, customers=120)
    declared = {"dear": {"rule": "net_spend > 0", "limit": 20}, "leaving": {}}
    made = made_lists(engine, rows, tmp_path, active(rows), declared=declared)
    lists = Lists.model_validate({"min_risk": "auto", "max_customers": 10, "rank_by": "auto", "columns": ["rank-name"],
                                  "contact": {"email": "email", "phone": "segment"}})  # fmt: skip

    def delivered(wanted: Sequence[str]) -> pd.DataFrame:
        ids = [row["customer_id"] for row in rows["customers"]]
        return pd.DataFrame({"customer_id": ids, "valid_from": None, **{name: [f"{one}@x.example" for one in ids]
                                                                        for name in wanted}})  # fmt: skip

    def consent() -> ConsentRecord:
        return consent_of(said, date(2025, 1, 1))

    said = pd.DataFrame([{"customer_id": row["customer_id"], "valid_from": None, "consent": row["consent"] == "true"}
                         for row in rows["customers"]])  # fmt: skip
    people = head(made, "dear").people
    found = {form: export_list(tmp_path / "lists", lists, "dear", form, delivered, consent)
             for form in ("csv", "analyst", "klaviyo", "google_ads")}  # fmt: skip
    assert {one.rows for one in found.values()} == {people} and people > 3
    read = {form: list(csv.DictReader(one.text.splitlines())) for form, one in found.items()}
    ids = [row["customer_id"] for row in read["csv"]]
    assert ids == [row["customer_id"] for row in on(tmp_path, "dear")]
    assert [row["rank-name"] for row in read["csv"]] == [f"{who}@x.example" for who in ids]
    assert [row["Email"] for row in read["klaviyo"]] == [f"{who}@x.example" for who in ids]
    assert "model_version" in read["analyst"][0] and "model_version" not in read["csv"][0]
    assert set(read["google_ads"][0]) == {"Email", "Phone"}
    with pytest.raises(SettingsError, match=r"there is no list .daer.\. Did you mean .dear.\?"):
        export_list(tmp_path / "lists", lists, "daer", "csv", delivered, consent)
    with pytest.raises(SettingsError, match="leaving is off: it needs subscriptions"):
        export_list(tmp_path / "lists", lists, "leaving", "csv", delivered, consent)
    # One said no since, of one nothing is known any more.
    said = said[(said["customer_id"] != ids[2]) & (said["consent"])]
    said = pd.concat([said, pd.DataFrame([{"customer_id": ids[0], "valid_from": date(2024, 6, 1), "consent": False}])])
    for form in found:
        left = export_list(tmp_path / "lists", lists, "dear", form, delivered, consent)
        assert left.rows == people - 2 and left.left_out[SINCE] == 2, form
        assert (f"left out: 2 {SINCE}" in left.summary and ids[1] in left.text) or form == "google_ads"
        assert not any(f'"{who}' in left.text for who in (ids[0], ids[2])), form


def test_a_birthday_is_a_milestone_and_is_read_from_the_delivery_alone(engine: Engine, tmp_path: Path) -> None:
    rows = raw_rows(5, customers=120)
    for row in rows["customers"]:
        row["consent"] = "true"
    quiet = {**rows, "contacts": [], "events": []}
    scored = active(rows)
    given = settings(lists={"declared": {"milestones": {"priority": 0}}, "birthday": "born"})
    here = told(engine, quiet, tmp_path, scored)
    born = {
        scored[0]: "1980-07-01",
        scored[1]: "1992-02-29",
        scored[2]: "1970-06-30",
        scored[3]: "1999-07-07",
        scored[4]: None,
    }
    delivered = pd.DataFrame({"customer_id": list(born), "valid_from": None, "born": list(born.values())})
    rules = ListRules(given.lists, None, given.churn.windows)
    write_lists(engine, here, tmp_path / "lists", rules, given, customer_columns=delivered)
    table = read_made(tmp_path / "lists")[0].set_index("customer_id")
    # From 30 June 2024: tomorrow; 28 February 2025; a year; a week.
    assert table.loc[list(born), "days_to_birthday"].fillna(-1).tolist() == [1, 243, 365, 7, -1]
    anniversary = table[(table["state"] == "active") & (table["days_to_anniversary"] <= 7)].index
    assert {row["customer_id"] for row in on(tmp_path, "milestones")} == {scored[0], scored[3], *anniversary}
    assert "born" not in on(tmp_path, "milestones")[0] and not any("1980" in path.read_bytes().decode("latin-1")
                                                                    for path in (tmp_path / "lists").glob("*.csv"))  # fmt: skip
    with pytest.raises(DataError, match=r"lists.birthday: none of the 5 cells .* is a day like 1980-05-31"):
        write_lists(engine, here, tmp_path / "lists", rules, given, customer_columns=delivered.assign(born="1.7.80"))


def test_lists_need_only_what_they_always_needed() -> None:
    lists = Lists.model_validate({"min_risk": 0.2, "max_customers": 10, "rank_by": "auto", "columns": []})
    assert lists.declared == {} and lists.cooldown_days == 30 and lists.actions == ACTIONS
