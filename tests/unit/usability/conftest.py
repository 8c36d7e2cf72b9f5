from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from lapse.usability import delivery


@pytest.fixture(scope="session", autouse=True)
def _purchase_days_are_compiled_once() -> Iterator[None]:
    """Most of the time of a check on a few rows is Ibis writing the same SQL anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "days_query", cache(delivery.days_query))
        yield
