"""Whom the business contacted: a source like the others, which no feature and no period of the log is made from."""

from __future__ import annotations

from pathlib import Path

from lapse.history.profile import DataProfile
from tests.unit.history.history_cases import Validate

MAPPED = {"path": "c.csv", "columns": {"customer_id": "who", "contacted_at": "at", "channel": "by", "list": "for"}}


def test_contacts_are_typed_rejected_and_counted_like_every_table(folder: Path, run_validate: Validate) -> None:
    (folder / "c.csv").write_text(
        "who,at,by,for\na,2020-03-01 09:30,email,at_risk\na,2020-03-01 09:30,email,at_risk\nb,soon,phone,\n,2020-02-02,phone,\n"
    )
    found = run_validate(contacts=MAPPED)
    assert found.numbers("contacts") == (4, 1, 2, 1), "one kept, two rejected, one duplicate"
    (row,) = found.rows("contacts", 'customer_id, contacted_at::VARCHAR, contact_date::VARCHAR, channel, "list"')
    assert row == ("a", "2020-03-01 09:30:00", "2020-03-01", "email", "at_risk")
    assert found.reasons("contacts") == {"contacted_at cannot be read as a timestamp": 1, "customer_id is missing": 1}
    profile = DataProfile.read(found.out / "profile.json")
    assert "contacts" in profile.columns and "contacts" not in profile.given, "no model can learn from it"
    assert str(profile.period.last_day) == "2020-01-01", "a contact is no day of the log"


def test_without_contacts_there_is_an_empty_table(run_validate: Validate) -> None:
    assert run_validate().rows("contacts") == []
