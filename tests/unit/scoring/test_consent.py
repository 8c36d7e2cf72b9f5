"""Consent follows the person: the last word counts, on the day of scoring and at all."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from lapse.core.windows import Period
from lapse.history.profile import DataProfile
from lapse.scoring.consent import consent_record

AS_OF = date(2024, 3, 31)
Words = list[tuple[date | None, bool | None]]


def deliver(folder: Path, words: Words, withdrawn: list[date] | None = None, kind: str = "unsubscribe") -> None:
    """Write the rows of one customer, c, in both orders of words."""
    pd.DataFrame({
        "customer_id": pd.Series("c", index=range(len(words)), dtype="str"),
        "valid_from": pd.Series([day for day, _ in words], dtype="object"),
        "consent": pd.array([consent for _, consent in words], dtype="boolean"),
    }).to_parquet(folder / "customers.parquet")  # fmt: skip
    events = [{"customer_id": "c", "event_date": day, "event_type": kind} for day in withdrawn or []]
    events.append({"customer_id": "c", "event_date": date(2024, 5, 1), "event_type": "visit"})
    pd.DataFrame(events).to_parquet(folder / "events.parquet")


def state(folder: Path, *, delivered: bool = True, withdrawn_by: tuple[str, ...] = ("unsubscribe",)) -> str | None:
    """Return the state of c."""
    columns = {"customers": ["customer_id", "consent"] if delivered else ["customer_id"]}
    profile = DataProfile(Period(AS_OF, AS_OF, AS_OF), columns, ["Unsubscribe", "unsubscribe", "visit"])
    record = consent_record(folder, profile, AS_OF, withdrawn_by)
    found = record.of(pd.Series(["c"])).iloc[0]
    return None if pd.isna(found) else str(found)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([(None, True)], "given"),
        ([(None, False)], "refused"),
        ([(None, None)], "unknown"),
        ([], "unknown"),
        ([(date(2024, 1, 1), True), (date(2024, 3, 1), False)], "refused"),
        ([(date(2024, 1, 1), False), (date(2024, 3, 1), True)], "given"),
        ([(None, True), (date(2024, 3, 1), None)], "unknown"),
        ([(None, False), (date(2024, 3, 31), True)], "given"),
        # What came after the day keeps off, and never allows.
        ([(date(2024, 1, 1), True), (date(2024, 4, 1), False)], "refused"),
        ([(date(2024, 1, 1), False), (date(2024, 4, 1), True)], "refused"),
        ([(date(2024, 4, 1), True)], "unknown"),
        ([(date(2024, 1, 1), True), (date(2024, 4, 1), False), (date(2024, 5, 1), True)], "given"),
    ],
)
def test_the_last_word_in_customers(words: Words, expected: str, tmp_path: Path) -> None:
    for order in (words, words[::-1]):
        deliver(tmp_path, order)
        assert state(tmp_path) == expected


@pytest.mark.parametrize(
    ("words", "withdrawn", "expected"),
    [
        ([(None, True)], [date(2024, 3, 1)], "withdrawn"),
        ([(date(2024, 1, 1), True)], [date(2024, 3, 31)], "withdrawn"),
        ([(date(2024, 3, 1), True)], [date(2024, 3, 1)], "withdrawn"),
        # A yes with a later day is a new consent, one without a day is not.
        ([(None, True), (date(2024, 3, 10), True)], [date(2024, 3, 1)], "given"),
        ([(date(2024, 3, 10), True)], [date(2024, 3, 1), date(2024, 3, 20)], "withdrawn"),
        ([(date(2024, 1, 1), True)], [date(2024, 4, 2)], "withdrawn"),
        ([(date(2024, 1, 1), True), (date(2024, 4, 5), True)], [date(2024, 4, 2)], "given"),
        ([(date(2024, 4, 5), True)], [date(2024, 3, 2)], "withdrawn"),
        ([(None, False)], [date(2024, 3, 1)], "withdrawn"),
        ([], [date(2024, 3, 1)], "withdrawn"),
    ],
)
def test_a_withdrawal_takes_off_from_that_day_on(words: Words, withdrawn: list[date], expected: str, tmp_path: Path) -> None:
    deliver(tmp_path, words, withdrawn)
    assert state(tmp_path) == expected


def test_without_a_column_consent_only_who_withdrew_is_off(tmp_path: Path) -> None:
    deliver(tmp_path, [(None, False)])
    assert state(tmp_path, delivered=False) is None
    deliver(tmp_path, [], [date(2024, 3, 1)])
    assert state(tmp_path, delivered=False) == "withdrawn"
    assert state(tmp_path, delivered=False, withdrawn_by=()) is None


def test_the_spelling_of_a_withdrawal_does_not_matter_and_a_type_that_never_came_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(tmp_path, [(None, True)], [date(2024, 3, 1)], kind="Unsubscribe")
    assert state(tmp_path, withdrawn_by=("unsubscribe",)) == "withdrawn"
    assert state(tmp_path, withdrawn_by=("un-subscribed",)) == "given"
    assert "no event is of type un-subscribed. Did you mean 'unsubscribe'?" in caplog.text
