"""A table may consist of several files, each with its own mapping: counts per file, and the equation over all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lapse.core.errors import SettingsError
from tests.unit.history.history_cases import Validate

LOGINS = {
    "path": "logins.csv",
    "columns": {"customer_id": "user", "occurred_at": "when"},
    "derive": {"event_type": "'login'"},
}
TICKETS: dict[str, Any] = {
    "path": "tickets.csv",
    "columns": {"customer_id": "kunde", "occurred_at": "am", "event_type": "art"},
    "delimiter": ";",
    "time_format": "%d.%m.%Y",
    "where": "art <> 'Spam'",
}


def write_events(folder: Path) -> None:
    (folder / "logins.csv").write_text("user,when\na,2020-01-01\na,2020-01-01\nb,2020-01-02\nc,never\n")
    (folder / "tickets.csv").write_text("kunde;am;art\na;03.02.2020;Klage\nb;04.02.2020;Spam\n")


def test_logins_and_tickets_need_no_merging(run_validate: Validate, folder: Path) -> None:
    write_events(folder)
    found = run_validate(events=[LOGINS, TICKETS])
    assert found.rows("events", "customer_id, event_date::VARCHAR, event_type") == [
        ("a", "2020-01-01", "login"),
        ("a", "2020-02-03", "Klage"),
        ("b", "2020-01-02", "login"),
    ]
    count = found.counts["events"]
    assert (*found.numbers("events"), count.rows_left_out) == (6, 3, 1, 1, 1)
    assert "logins.csv: 4 rows in = 2 kept + 1 rejected + 1 duplicates\n" in str(count)
    assert "tickets.csv: 2 rows in = 1 kept + 0 rejected + 0 duplicates + 1 left out by where" in str(count)


def test_each_file_keeps_its_own_duplicates(run_validate: Validate, folder: Path) -> None:
    write_events(folder)
    found = run_validate(events=[{**LOGINS, "duplicates": "keep"}, TICKETS])
    assert found.numbers("events") == (6, 4, 1, 0)


@pytest.mark.parametrize("table", ["transactions", "events", "feedback", "customers"])
def test_every_table_may_be_in_two_files(table: str, run_validate: Validate, folder: Path) -> None:
    row = "2020-01-01,3,login,x"
    (folder / "one.csv").write_text(f"who,at,paid,what,group\na,{row}\n")
    (folder / "two.csv").write_text(f"who,at,paid,what,group\nb,{row}\n")
    extra: dict[str, Any] = (
        {"columns": {"customer_id": "who", "rated_at": "at", "rating": "paid"}} if table == "feedback" else {}
    )
    found = run_validate(**{table: [{"path": "one.csv", **extra}, {"path": "two.csv", **extra}]})
    assert found.rows(table, "customer_id") == [("a",), ("b",)]


def test_attributes_of_one_file_are_empty_for_the_other(run_validate: Validate, folder: Path) -> None:
    (folder / "one.csv").write_text("who,group,city\na,x,Bonn\n")
    (folder / "two.csv").write_text("who,group,plan\nb,y,gold\n")
    found = run_validate(
        customers=[{"path": "one.csv", "attributes": ["city"]}, {"path": "two.csv", "attributes": ["plan"]}]
    )
    assert found.rows("customers", "customer_id, city, plan") == [("a", "Bonn", None), ("b", None, "gold")]


def test_one_customer_in_two_files_is_a_reject_of_both(run_validate: Validate, folder: Path) -> None:
    (folder / "one.csv").write_text("who,group\na,x\n")
    (folder / "two.csv").write_text("who,group\na,y\nb,y\n")
    found = run_validate(customers=[{"path": "one.csv"}, {"path": "two.csv"}])
    assert found.rows("customers", "customer_id") == [("b",)] and found.numbers("customers") == (3, 1, 2, 0)


def test_a_fault_names_the_file(run_validate: Validate, folder: Path) -> None:
    write_events(folder)
    wrong = {**TICKETS, "columns": {**TICKETS["columns"], "subject": "betreff"}}
    with pytest.raises(SettingsError, match=r"^sources\.events\.1\.columns\.subject: the source has no column 'betreff'"):
        run_validate(events=[LOGINS, wrong])
    with pytest.raises(ValidationError, match="map it in all or in none"):
        columns = {"customer_id": "who", "ordered_at": "at"}
        run_validate(transactions=[{"path": "a.csv"}, {"path": "b.csv", "columns": columns}])
