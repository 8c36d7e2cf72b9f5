"""Features of one's own: the worked example runs, SQL says what Python says, and nothing slips past the rules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import ibis
import pytest

from lapse.core.engine import Engine
from lapse.core.errors import ModelError, SettingsError
from lapse.core.settings import SqlFeature
from lapse.features.build import build_features
from lapse.features.catalogue import all_features
from lapse.features.family import Inputs, OwnFeatures
from lapse.features.leakage import moved_features, up_to
from lapse.features.own import DAY_TABLES, own_features, require_sql, with_own_features
from lapse.features.query import PEOPLE, _days, empty_days
from lapse.features.sql import kind_of
from lapse.night.run import check_delivery
from lapse.pages import data_dictionary, own_families
from lapse.snapshots import eligible_customers
from lapse.workspace import Workspace
from tests.conftest import GOLDEN_CUTOFF, GOLDEN_PERIOD, GOLDEN_WINDOWS, ROOT, roll_up

EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "pipelines/own_features/README.md").read_text("utf-8"), re.S).group(1)
GIVEN = frozenset({"amount", "order_id"})


def sql(expression: str, looks_back: int = 0, table: str = "purchase_days") -> SqlFeature:
    return SqlFeature(table=table, expression=expression, meaning="Made.", unit="lines", risk="lower",
                      reason="few lines", looks_back=looks_back)  # fmt: skip


def with_own(own: OwnFeatures) -> Inputs:
    return Inputs((30, 60), GIVEN, own=own.families, own_digest=own.digest)


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "pipelines" / "own_features"
    folder.mkdir(parents=True)
    (folder / "baskets.py").write_text(EXAMPLE, encoding="utf-8")
    return tmp_path


def values(engine: Engine, log: Any, own: OwnFeatures) -> Any:
    activity = roll_up(log)
    snapshots = eligible_customers(activity["purchase_days"], GOLDEN_CUTOFF, GOLDEN_WINDOWS, GOLDEN_PERIOD)
    inputs = with_own(own)
    return build_features(engine, activity, snapshots, GOLDEN_CUTOFF, 91, inputs, families=()).set_index("customer_id")


def test_the_worked_example_joins_the_table(engine, golden_log, workspace) -> None:
    own = own_features(workspace, {})
    made = values(engine, golden_log, own)
    assert list(made.columns[1:]) == ["big_basket_share_30d", "big_basket_share_60d"]
    assert made.loc["anna", "big_basket_share_60d"] == 0
    named = {feature.name: feature.entry.meaning for feature in all_features(with_own(own))}
    assert named["big_basket_share_30d"] == "Share of purchase days in the last 30 days with ten lines or more."


@pytest.mark.parametrize(
    ("expression", "anna"),
    [
        ("sum(orders) FILTER (WHERE age < 30)", 1),
        ("count(*)", 4),
        ("sum(CASE WHEN net_spend > 10 THEN 1 ELSE 0 END) / count(*)", 0.5),
        ("max(age) - min(age)", 90),
        ("avg(gap_days) FILTER (WHERE gap_days IS NOT NULL AND NOT orders = 0)", 30),
        ("count(gap_days) FILTER (WHERE age BETWEEN 0 AND 50 OR orders IN (7, 8))", 2),
        ("coalesce(sum(discount), 0) * -1.5", -3),
    ],
)
def test_sql_is_an_aggregate_over_the_days(engine, golden_log, tmp_path, expression, anna) -> None:
    made = values(engine, golden_log, own_features(tmp_path, {"mine": sql(expression)}))
    assert made.loc["anna", "mine"] == anna


def test_the_example_of_contributing_joins_the_table(engine, golden_log, tmp_path) -> None:
    example = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
    folder = tmp_path / "pipelines" / "own_features"
    folder.mkdir(parents=True)
    head = "from typing import Any\nfrom lapse.features.family import Entry, Family\npurchasing = Family('mine', 'purchase_days', '')\n"
    (folder / "mine.py").write_text(head + example, encoding="utf-8")
    made = values(engine, golden_log, own_features(tmp_path, {}))
    spend = roll_up(golden_log)["purchase_days"]
    most = engine.frame(spend.filter((spend.customer_id == "anna") & (spend.orders > 0)))["net_spend"].max()
    assert made.loc["anna", "largest_day"] == float(most) > 0


def write_params(workspace: Path, expression: str) -> None:
    mine = f"  sql: {{mine: {json.dumps(sql(expression).model_dump())}}}\n"
    params = (ROOT / "params.yaml").read_text("utf-8").replace("  sql: {}\n", mine)
    (workspace / "params.yaml").write_text(params, encoding="utf-8")


def test_the_check_refuses_sql_before_it_reads_anything(workspace) -> None:
    write_params(workspace, "sum(nothing)")
    with pytest.raises(SettingsError, match=r"features\.sql\.mine: no column 'nothing'"):
        check_delivery(Workspace(workspace))


def test_the_dictionary_holds_ones_own(workspace) -> None:
    write_params(workspace, "count(*)")
    page = data_dictionary(own_families(workspace))
    assert "| `big_basket_share_90d` | ratio | Share of purchase days in the last 90 days with ten lines or more. |" in page
    assert "| `mine` | lines | Made. |" in page
    assert "big_basket_share" not in data_dictionary()


def test_which_days_sql_takes_it_says_itself(engine, golden_log, tmp_path) -> None:
    own = {"all": sql("count(*)", looks_back=7), "lately": sql("count(*) FILTER (WHERE age < 7)", looks_back=7)}
    made = values(engine, golden_log, own_features(tmp_path, own))
    assert made.loc["anna", "all"] == 4 and made.loc["anna", "lately"] == 1


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("sum(orders", "no SQL expression"),
        ("(SELECT 1)", "not possible here"),
        ("sum(orders) OVER ()", "not possible here"),
        ("read_csv('/etc/passwd')", "not possible here"),
        ("sum(nothing)", "features.sql.mine: no column 'nothing'"),
        ("sum(lines) FILTER (WHERE age BETWEEN SYMMETRIC 9 AND 1)", "BETWEEN with symmetric"),
        ("max(lines, age)", "MAX with expressions"),
        ("count(lines, age)", "COUNT with expressions"),
        ("sum(other.lines)", "COLUMN with table"),
        ("sum(CASE lines WHEN 1 THEN 2 END)", "CASE with this"),
        ("sum(sum(lines))", "one aggregate stands inside another"),
        ("sum(*)", "STAR is not possible here"),
        ("sum('a')", "reads no column"),
        ("sum(lines); sum(age)", "no SQL expression"),
        ("count(*) FILTER (WHERE lines = 'a')", "takes a number and a text"),
        ("count(*) FILTER (WHERE lines = NULL)", "write IS NULL"),
        ("count(*) FILTER (WHERE lines = age IS NULL)", "can be read in two ways"),
        ("count(*) FILTER (WHERE lines)", "is a number where a flag is needed"),
        ("count(*) FILTER (WHERE age IS TRUE)", "is a number where a flag is needed"),
        ("lines", "stands outside"),
        ("1 + 1", "aggregates nothing"),
        ("max(activity_date)", "takes a day where a number is needed"),
        ("sum(lines) * " + "9" * 5_000, "longer than 2,000 characters"),
        ("sum(lines) * " + "9" * 500, "is no number of up to 18 digits"),
        ("(" * 200 + "sum(lines)" + ")" * 200, "features.sql.mine"),
        ("sum(coalesce(lines, 'x'))", "mixes a number and a text"),
    ],
)
def test_other_sql_is_refused(engine, golden_log, tmp_path, expression, says) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)) as of_the_stage:
        values(engine, golden_log, own_features(tmp_path, {"mine": sql(expression)}))
    with pytest.raises(SettingsError) as of_the_check:
        require_sql({"mine": sql(expression)})
    assert str(of_the_check.value) == str(of_the_stage.value)


def test_the_check_knows_the_columns_of_the_days_without_any(engine, golden_log) -> None:
    """`lapse check` judges SQL by the contracts, stage features by the tables."""
    tables, people = roll_up(golden_log), ibis.table(PEOPLE, name="people")
    for name, table in DAY_TABLES.items():
        days, expected = (
            _days(tables[name].drop("customer_id").mutate(code=ibis.literal(1, "int32")), people),
            empty_days(table),
        )
        assert {one: kind_of(days[one]) for one in days.columns} == {one: kind_of(expected[one]) for one in expected.columns}


def test_a_file_that_does_not_run_or_makes_nothing_is_refused(workspace) -> None:
    folder = workspace / "pipelines" / "own_features"
    (folder / "broken.py").write_text("1 / 0", encoding="utf-8")
    with pytest.raises(SettingsError, match="ZeroDivisionError"):
        own_features(workspace, {})
    (folder / "broken.py").write_text("from lapse.features.purchasing import purchasing", encoding="utf-8")
    with pytest.raises(SettingsError, match="makes no Family"):
        own_features(workspace, {})


def test_a_name_that_is_taken_is_refused(tmp_path) -> None:
    own = own_features(tmp_path, {"tenure_days": sql("max(age)")})
    with pytest.raises(SettingsError, match="tenure_days"):
        all_features(with_own(own))


def test_a_model_is_used_only_with_the_features_that_it_was_trained_with(workspace, tmp_path) -> None:
    inputs = Inputs.from_json(with_own(own_features(workspace, {})).to_json())
    assert inputs.own == ()
    assert len(with_own_features(inputs, workspace, {}).own) == 1
    with pytest.raises(ModelError, match="not those that the model was trained with"):
        with_own_features(inputs, workspace, {"mine": sql("count(*)")})


def test_a_feature_of_ones_own_that_looks_ahead_is_caught(engine, golden_log, workspace) -> None:
    (workspace / "pipelines" / "own_features" / "leaky.py").write_text(
        "from lapse.features.family import Entry, Family\n"
        "ahead = Family('ahead', 'purchase_days', 'looks ahead')\n"
        "@ahead.aggregate(Entry('Rows of the whole log.', 'rows', 'never null', 'either', 'ahead'))\n"
        "def rows_of_all(days):\n"
        "    return days.age.min() + ALL.count().as_scalar()\n",
        encoding="utf-8",
    )
    own = own_features(workspace, {})
    inputs = with_own(own)
    snapshots = engine.materialize(
        eligible_customers(roll_up(golden_log)["purchase_days"], GOLDEN_CUTOFF, GOLDEN_WINDOWS, GOLDEN_PERIOD),
        "own_eligible",
    )

    def rolled(log: Any) -> Any:
        leaky = next(family for family in own.families if family.name == "ahead")
        leaky.features(inputs)[0].compute.args[0].__globals__["ALL"] = log["transactions"]
        return roll_up(log)

    cut = up_to(golden_log, GOLDEN_CUTOFF)

    def built(log: Any) -> Any:
        return build_features(engine, rolled(log), snapshots, GOLDEN_CUTOFF, 91, inputs, families=())

    moved = moved_features(golden_log, cut, built)
    assert moved == ["rows_of_all"]
