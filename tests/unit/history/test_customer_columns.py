from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lapse.core.engine import open_duckdb
from lapse.core.errors import SettingsError
from lapse.core.settings import load_settings, parse_settings
from lapse.core.source_settings import Sources
from lapse.history.validation.customer_columns import read_customer_columns
from lapse.outreach.exports import delivered_consent
from lapse.workspace import Workspace
from tests.conftest import ROOT

TRANSACTIONS = {"path": "t.csv", "columns": {"customer_id": "Kunde", "ordered_at": "Tag"}}


def read(folder: Path, customers: Any, wanted: list[str], **more: Any) -> pd.DataFrame:
    sources = Sources.model_validate({
        "folder": str(folder), "until": None, "earliest": "1990-01-01", "max_reject_share": 0.5, **more,
        "transactions": TRANSACTIONS, "events": None, "feedback": None, "customers": customers,
    })  # fmt: skip
    with open_duckdb(2) as engine:
        return read_customer_columns(engine, sources, wanted, "UTC", date(2026, 1, 1), folder)


def test_delivered_columns_come_under_the_ids_of_the_scores(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(
        'Kunde;Name;Land;Stand\n17850.0; Änne ;DE;x\n17851.0;"=cmd()";;x\n;nobody;FR;x\n17852.0;gone;FR;weg\n', "utf-8"
    )
    customers = {"path": "c.csv", "columns": {"customer_id": "Kunde"}, "where": "Stand <> 'weg'"}
    found = read(tmp_path, customers, ["name", "Land"])
    assert found["valid_from"].isna().all()
    assert found.drop(columns="valid_from").fillna("").to_dict("list") == {
        "customer_id": ["17850", "17851"], "name": ["Änne", "=cmd()"], "Land": ["DE", ""],
    }  # fmt: skip


def test_consent_is_read_anew_and_of_one_day_a_no_counts(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(
        "Kunde,ja,ab\n1,yes,2024-01-01\n1,no,2024-02-01\n2,no,2024-01-01\n2,yes,2024-02-01\n"
        "3,no,2024-01-01\n3,yes,2024-01-01\n4,,\n5,yes,\n", "utf-8")  # fmt: skip
    sources = Sources.model_validate({
        "folder": str(tmp_path), "until": None, "earliest": "1990-01-01", "max_reject_share": 0.5, "transactions": TRANSACTIONS,
        "events": None, "feedback": None,
        "customers": {"path": "c.csv", "columns": {"customer_id": "Kunde", "consent": "ja", "valid_from": "ab"}},
    })  # fmt: skip
    found = delivered_consent(sources, "UTC", date(2026, 1, 1), tmp_path)
    assert found is not None
    states = found.of(pd.Series(list("123456")))
    assert states.tolist() == ["refused", "given", "refused", "unknown", "given", "unknown"]
    # Consent that is no longer delivered allows nobody.
    sources.tables["customers"][0].columns.pop("consent")
    found = delivered_consent(sources, "UTC", date(2026, 1, 1), tmp_path)
    assert found is not None and set(found.of(pd.Series(list("123456")))) == {"unknown"}


def test_a_column_that_is_not_delivered_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("Kunde,E-Mail\n1,a@x.example\n", "utf-8")
    (tmp_path / "d.csv").write_text("Kunde,Ort\n2,Ulm\n", "utf-8")
    two = [{"path": name, "columns": {"customer_id": "Kunde"}} for name in ("c.csv", "d.csv")]
    with pytest.raises(SettingsError, match=r"no column 'Email'\. Did you mean 'E-Mail'\? They have: Kunde, E-Mail, Ort\."):
        read(tmp_path, two, ["Email"])
    found = read(tmp_path, two, ["E-Mail", "Ort"])
    assert found.fillna("")[["E-Mail", "Ort"]].to_numpy().tolist() == [["a@x.example", ""], ["", "Ulm"]]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["customer_id"], "every list has a column 'customer_id' of its own"),
        (["Ort", "rank"], "every list has a column 'rank' of its own"),
        (["Ort", "Ort"], "'Ort' stands there twice"),
    ],
)
def test_a_list_has_each_column_once(names: list[str], said: str) -> None:
    settings = load_settings(ROOT / "params.yaml").model_dump()
    settings["lists"]["columns"] = names
    with pytest.raises(SettingsError, match=said):
        parse_settings(settings)


def test_columns_need_a_table_of_customers() -> None:
    settings = load_settings(ROOT / "params.yaml").model_dump()
    settings["sources"]["customers"] = None
    settings["lists"]["columns"] = ["Name"]
    with pytest.raises(
        SettingsError, match=r"lists\.columns names columns of the customers, but sources\.customers is null"
    ):
        parse_settings(settings)


def test_an_unknown_column_is_refused_when_the_delivery_is_checked(tmp_path: Path) -> None:
    """`lapse check` asks for the columns that lists will show, long before the last stage would miss one."""
    (tmp_path / "c.csv").write_text("Kunde,E-Mail\n1,a@x.example\n", "utf-8")
    (tmp_path / "t.csv").write_text("Kunde,Tag\n1,2024-05-01\n", "utf-8")
    given = load_settings(ROOT / "params.yaml").model_dump()
    given["sources"] |= {
        "folder": str(tmp_path), "transactions": TRANSACTIONS, "events": None, "feedback": None,
        "customers": {"path": "c.csv", "columns": {"customer_id": "Kunde"}},
    }  # fmt: skip
    for names, refused in ((["E-mial"], True), (["e-mail"], False)):
        given["lists"]["columns"] = names
        here = Workspace(tmp_path, settings=parse_settings(given), data=tmp_path / "data")
        if refused:
            with pytest.raises(
                SettingsError, match=r"no column 'E-mial'\. Did you mean 'E-Mail'\? They have: Kunde, E-Mail"
            ):
                here.check(here.settings.lists.columns)
            assert not here.paths.validated.exists(), "nothing is written"
            continue
        with open_duckdb(2) as engine:
            assert here.validate_sources(engine)["customers"].rows_kept == 1
