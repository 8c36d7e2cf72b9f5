"""What a cutoff's features are computed from is its own: whatever else is open, and gone when its block ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.held_tables import HeldTables
from lapse.core.tables.sources import TRANSACTIONS
from lapse.features.family import Inputs
from lapse.features.query import CutoffQuery, FeatureQuery
from lapse.snapshots import eligible_customers
from tests.conftest import GOLDEN_CUTOFF, GOLDEN_PERIOD, GOLDEN_WINDOWS, loaded, roll_up

INPUTS = Inputs((30,), frozenset(TRANSACTIONS.names))
EARLIER = date(2024, 2, 29)


@contextmanager
def at(features: FeatureQuery, cutoff: date) -> Iterator[CutoffQuery]:
    snapshots = eligible_customers(features.activity["purchase_days"], cutoff, GOLDEN_WINDOWS, GOLDEN_PERIOD)
    with features.at(snapshots, cutoff, GOLDEN_PERIOD.history_days(cutoff)) as query:
        yield query


@pytest.fixture
def features(engine: Engine, golden_log: dict[str, Any]) -> Iterator[FeatureQuery]:
    with FeatureQuery(engine, roll_up(golden_log), INPUTS) as features:
        yield features


def held_in(engine: Engine) -> list[str]:
    return [name for name in engine.backend.list_tables() if name.startswith("lapse_held_")]


def test_cutoffs_may_be_open_at_once_and_be_read_twice(features: FeatureQuery) -> None:
    with at(features, GOLDEN_CUTOFF) as query:
        alone = query.frame()
    with at(features, GOLDEN_CUTOFF) as later, at(features, EARLIER) as earlier:
        assert set(earlier.frame().cutoff_date.astype(str)) == {str(EARLIER)}
        pd.testing.assert_frame_equal(later.frame(), alone, check_exact=True)
        pd.testing.assert_frame_equal(later.frame(), alone, check_exact=True)


def test_nothing_is_held_after_the_block_not_even_when_it_fails(engine: Engine, features: FeatureQuery) -> None:
    with pytest.raises(ValueError, match="broken"), features, at(features, GOLDEN_CUTOFF):
        assert held_in(engine)
        raise ValueError("broken")
    assert held_in(engine) == []


def test_the_sql_of_features_is_written_once_in_a_process(features: FeatureQuery, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    compute = FeatureQuery._aggregated
    monkeypatch.setattr(FeatureQuery, "_aggregated", lambda *given: written.append(given) or compute(*given))
    monkeypatch.setattr("lapse.features.query._WRITTEN", {})
    values = []
    for again in (features, FeatureQuery(features.engine, features.activity, INPUTS)):
        with at(again, GOLDEN_CUTOFF) as query:
            values.append(query.frame())
    assert len(written) == 1
    pd.testing.assert_frame_equal(*values, check_exact=True)


def test_owners_do_not_share_names(engine: Engine) -> None:
    rows = loaded(engine, pd.DataFrame({"n": [1]}), "one_row")
    with HeldTables(engine) as one, HeldTables(engine) as other:
        first, second = one.hold(rows, "same"), other.hold(rows.mutate(n=rows.n + 1), "same")
        assert engine.frame(first).n.tolist() == [1] and engine.frame(second).n.tolist() == [2]
