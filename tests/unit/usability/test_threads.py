"""A check that joins what LIMIT chose gives the same answer whatever the threads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from lapse.core.engine import open_duckdb
from lapse.usability.delivery import CheckedDelivery
from lapse.usability.row_checks import cancelled_outliers

# The ten largest returns are not those of the ten largest orders; a smaller one of theirs is.
LOG = """
CREATE TEMP TABLE checked_transactions AS
SELECT 'c' || i AS customer_id, (CASE WHEN i < 10 THEN 500 + i ELSE i % 400 END)::DOUBLE AS amount FROM range(400000) r(i)
UNION ALL SELECT 'c' || i, -(500 + i)::DOUBLE FROM range(10) r(i)
UNION ALL SELECT 'd' || i, -(900 + i)::DOUBLE FROM range(10) r(i)
"""


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_only_the_largest_are_paired(threads: int) -> None:
    with open_duckdb(threads) as engine:
        engine.connection.execute(LOG)

        def row(query: str) -> Any:
            return engine.connection.execute(query).fetchone()

        delivery = cast(CheckedDelivery, SimpleNamespace(has=lambda _: True, row=row))
        assert [cancelled_outliers(delivery) for _ in range(20)] == [None] * 20
