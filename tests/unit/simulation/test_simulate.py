from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lapse.core.engine import open_engine
from lapse.core.errors import HistoryTooShort, SettingsError
from lapse.core.files import digest
from lapse.core.settings import load_settings
from lapse.core.windows import ChurnWindows, mature_cutoffs
from lapse.history.activity.purchases import purchase_days
from lapse.history.validation.validate import validate
from lapse.simulation import simulate as module
from lapse.simulation.shop import (
    DEAL_SEEKER,
    NEVER,
    REGULAR,
    HiddenState,
    Shop,
    order_factor,
    seasons,
    true_risk,
)
from lapse.simulation.simulate import FILES, simulate
from lapse.snapshots import eligible_customers

# Ibis 12 still asks DuckDB and pandas under names that both are about to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'future.infer_string' option:DeprecationWarning"),
]

PARAMS = Path(__file__).parents[3] / "params.yaml"
# More than two blocks of customers, so that threads have something to mix up.
SHOP = Shop(customers=4_500, days=500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated") / "shop"
    simulate(SHOP, out, PARAMS, workers=1)
    return out


def table(folder, name):
    return pd.read_parquet(folder / f"{name}.parquet")


def test_same_seed_same_bytes_whatever_the_threads_and_another_seed_differs(folder, tmp_path):
    def written(seed, workers, customers=SHOP.customers):
        out = tmp_path / f"{seed}-{workers}-{customers}"
        module.write_tables(Shop(customers=customers, days=SHOP.days, seed=seed), _made(out), workers)
        return {path.name: digest(path) for path in out.iterdir()}

    first = {name: digest(folder / name) for name in FILES - {"truth.parquet", "params.yaml"}}
    assert written(SHOP.seed, workers=3) == first
    other = written(SHOP.seed + 1, workers=2, customers=300)
    assert all(other[name] != first[name] for name in first)


def test_a_larger_shop_begins_with_the_same_customers(folder, tmp_path):
    module.write_tables(Shop(customers=2_000, days=SHOP.days), _made(tmp_path / "smaller"), workers=2)
    smaller = table(tmp_path / "smaller", "transactions")
    pd.testing.assert_frame_equal(smaller, table(folder, "transactions").head(len(smaller)))


def test_lapse_reads_every_row_and_asks_for_the_same_truth(folder, tmp_path):
    settings = load_settings(folder / "params.yaml")
    with open_engine() as engine:
        today = SHOP.start + timedelta(days=SHOP.days)
        profile, counts = validate(
            engine, settings.sources, settings.business_timezone, tmp_path, tmp_path / "report.json", today
        )
        for name, count in counts.items():
            assert count.rows_in == count.rows_kept == len(table(folder, name)) > 0
        assert profile.rating_scale == (1, 5)
        windows = settings.churn.windows
        cutoffs = mature_cutoffs(profile.period, windows, settings.snapshots.step_days, settings.snapshots.max_cutoffs)
        truth = table(folder, "truth")
        assert sorted(truth["cutoff_date"].unique()) == cutoffs
        days = purchase_days(engine.read(tmp_path / "transactions.parquet"))
        eligible = engine.frame(eligible_customers(days, cutoffs[-1], windows, profile.period))
    asked = truth[truth["cutoff_date"] == cutoffs[-1]]
    assert asked["customer_id"].tolist() == sorted(eligible["customer_id"])
    assert truth["true_risk"].between(0, 1).all()
    assert (truth.loc[truth["phase"] == "gone", "true_risk"] == 1).all()


def test_orders_stop_at_the_departure_and_subscriptions_end_with_it(folder):
    hidden = table(folder, "hidden").set_index("customer_id")
    lines = table(folder, "transactions")
    departed = pd.to_datetime(lines["customer_id"].map(hidden["departed"].dropna()))
    # A trial customer who leaves at once departs on the day of the one order.
    late = lines[~lines["is_return"] & (lines["ordered_at"].dt.normalize() >= departed)]
    assert set(late["customer_id"].map(hidden["kind"])) == {"trial"}
    assert (late.groupby("customer_id")["order_id"].nunique() == 1).all()
    assert (lines.loc[~lines["is_return"], "amount"] > 0).all()
    subscriptions = table(folder, "subscriptions")
    ended = subscriptions["customer_id"].map(hidden["departed"])
    assert subscriptions["ended_date"].fillna(0).tolist() == ended.fillna(0).tolist()
    assert subscriptions["end_reason"].isna().equals(subscriptions["ended_date"].isna())


def test_customers_in_decline_order_less_open_less_and_rate_lukewarm(folder):
    hidden = table(folder, "hidden").dropna(subset=["decline_start", "departed"])
    hidden = hidden[hidden["decline_days"] > 0].set_index("customer_id")
    start, end = pd.to_datetime(hidden["decline_start"]), pd.to_datetime(hidden["departed"])
    length = end - start

    def in_phase(rows, moment, before):
        """Rows of the decline, or of the equally long time before it."""
        when, begin = rows[moment], rows["customer_id"].map(start)
        span = rows["customer_id"].map(length)
        return rows[(when >= begin - span) & (when < begin)] if before else rows[(when >= begin) & (when < begin + span)]

    known = set(hidden.index[start - length >= pd.Timestamp(SHOP.start)])
    joined = table(folder, "customers").set_index("customer_id")["joined"].reindex(hidden.index)
    known &= set(hidden.index[start - length > pd.to_datetime(joined)])
    lines, events, feedback = (
        rows[rows["customer_id"].isin(known)]
        for rows in (table(folder, name) for name in ("transactions", "events", "feedback"))
    )
    orders = lines[~lines["is_return"]].drop_duplicates(["customer_id", "order_id"])
    orders_before, orders_in = (len(in_phase(orders, "ordered_at", before)) for before in (True, False))
    assert 0.4 < orders_in / orders_before < 0.7
    opened = []
    for before in (True, False):
        counts = in_phase(events, "occurred_at", before)["event_type"].value_counts()
        opened.append(counts["email_opened"] / counts["email_received"])
    assert opened[1] < 0.6 * opened[0]
    lukewarm = [(in_phase(feedback, "rated_at", before)["rating"] == 3).mean() for before in (True, False)]
    assert lukewarm[1] > 2 * lukewarm[0]


STATES = HiddenState(
    kind=np.array([REGULAR, REGULAR, DEAL_SEEKER, REGULAR, REGULAR, DEAL_SEEKER]),
    order_rate=np.array([0.05, 0.02, 0.08, 0.1, 0.05, 0.03]),
    hazard=np.array([0.0, 0.05, 0.02, 0.01, 0.01, 0.01]),
    decline_start=np.array([NEVER, NEVER, NEVER, 190, 150, 199]),
    decline_days=np.array([21, 21, 42, 28, 42, 84]),
)


@pytest.mark.parametrize("windows", [ChurnWindows(90, 30), ChurnWindows(90, 21, lead_days=10)])
def test_true_risk_is_what_brute_force_finds(windows):
    shop, cutoff, futures = Shop(), 200, 20_000
    random = np.random.default_rng(1)
    last = cutoff + windows.lead_days + windows.horizon_days
    risk = true_risk(shop, STATES, cutoff, windows)
    for i in range(len(risk)):
        # Day by day, as the story goes: begin to decline or not, then order or not.
        begun = np.full(futures, STATES.decline_start[i])
        orders = np.zeros(futures, int)
        for day in range(cutoff + 1, last + 1):
            begins = (begun == NEVER) & (random.random(futures) < STATES.hazard[i])
            begun[begins] = day
            factor = order_factor(day - begun + 1, np.full(futures, STATES.decline_days[i]))
            rate = STATES.order_rate[i] * seasons(shop, day, day)[STATES.kind[i], 0] * factor
            if day > cutoff + windows.lead_days:
                orders += random.poisson(rate)
        error = np.sqrt(risk[i] * (1 - risk[i]) / futures)
        assert abs((orders == 0).mean() - risk[i]) <= 4 * error, f"state {i}"
    assert risk[4] == 1


def test_true_risk_knows_nothing_of_a_decline_that_has_not_begun():
    begins_soon = replace(STATES, decline_start=np.full(6, 203))
    never = replace(STATES, decline_start=np.full(6, NEVER))
    risks = [true_risk(Shop(), hidden, 200, ChurnWindows(90, 30)) for hidden in (begins_soon, never)]
    np.testing.assert_array_equal(*risks)


def test_a_failure_or_a_foreign_folder_leaves_everything_as_it_was(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("killed")

    monkeypatch.setattr(module, "write_truth", fail)
    with pytest.raises(RuntimeError, match="killed"):
        simulate(Shop(customers=50, days=300), tmp_path / "shop", PARAMS)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(SettingsError, match="something else than a simulation"):
        simulate(Shop(customers=50, days=300), tmp_path / "mine", PARAMS)
    assert (tmp_path / "mine" / "notes.txt").exists()


def test_an_earlier_simulation_is_replaced(tmp_path):
    for seed in (1, 2):
        simulate(Shop(customers=50, days=300, seed=seed), tmp_path / "shop", PARAMS)
    assert {path.name for path in (tmp_path / "shop").iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_what_cannot_be_simulated_is_refused(tmp_path):
    with pytest.raises(HistoryTooShort):
        simulate(Shop(customers=50, days=100), tmp_path / "shop", PARAMS)
    with pytest.raises(SettingsError, match=r"deal_seekers \+ trials is 1.1"):
        Shop(deal_seekers=0.6, trials=0.5)


def _made(folder):
    folder.mkdir()
    return folder
