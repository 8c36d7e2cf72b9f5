"""What the files of a delivery are taken for, in several languages, and what is left open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lapse.core.errors import DataError
from lapse.core.settings import load_settings
from lapse.setup.column_words import plain_name, rank_of
from lapse.setup.init import params_of, write_mapping
from lapse.setup.mapping import propose
from lapse.setup.params_file import write_settings
from lapse.workspace import Workspace

GERMAN = {
    "rechnungen.csv": "Rechnungsnr;Datum;Kundennr;Artikel;Warengruppe;Menge;Einzelpreis;Rabatt %\n"
    "RE1;03.02.2024;K1;A1;Farbe;2;1.234,50;5\nRE1;03.02.2024;K1;A2;Holz;1;2,25;0\nRE2;14.02.2024;K2;A1;Farbe;3;0,5;0\n",
    "kunden.csv": "Kundennr;Firma;E-Mail;Region;Newsletter;Kündigungsstatus\nK1;Eins;a@x.example;Nord;ja;nein\n"
    "K2;Zwei;b@x.example;Süd;nein;ja\n",
    "tickets.csv": "Kundennr;Eingang;Art;Zufriedenheit\nK1;2024-02-05 10:00;Frage;4\nK2;2024-02-15 11:30;Reklamation;1\n",
}
ENGLISH = {
    "customers.csv": "customer_id,name,plan_type\n1,A,x\n2,B,y\n",
    "orders.csv": "order_id,customer_id,order_date,order_status\n7,1,2024-01-05,shipped\n8,2,2024-01-17,canceled\n",
    "order_items.csv": "order_id,sku,quantity,unit_price\n7,s1,2,1.50\n7,s2,1,3.00\n8,s1,1,1.50\n",
    "reviews.csv": "order_id,review_date,stars\n7,2024-01-09,5\n8,2024-01-30,2\n",
}
JAPANESE = {"注文.csv": "注文番号,注文日,顧客ID,商品コード,数量,金額\n1,2024-01-05,a,p,1,1200\n2,2024-01-16,b,q,2,300\n"}
POLISH = {"sprzedaz.csv": "Numer zamówienia;Data zamówienia;ID klienta;Ilość;Wartość\n1;2024-01-05;a;1;12,50\n"
          "2;2024-01-16;b;2;3,10\n"}  # fmt: skip


def delivered(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def mapped(folder: Path, files: dict[str, str]) -> dict[str, Any]:
    return propose(delivered(folder, files)).sources()


def test_a_german_delivery_is_mapped_whole_and_read(tmp_path: Path) -> None:
    sources = mapped(tmp_path / "in", GERMAN)
    assert sources["transactions"] == {"path": "rechnungen.csv", "columns": {
        "customer_id": "Kundennr", "ordered_at": "Datum", "order_id": "Rechnungsnr", "product_id": "Artikel",
        "category": "Warengruppe", "quantity": "Menge", "unit_price": "Einzelpreis"}}  # fmt: skip
    assert sources["events"]["columns"] == {"customer_id": "Kundennr", "occurred_at": "Eingang", "event_type": "Art"}
    assert sources["feedback"] == {"path": "tickets.csv", "columns": {
        "customer_id": "Kundennr", "rated_at": "Eingang", "rating": "Zufriedenheit"},
        "scale_min": 1, "scale_max": 5}  # fmt: skip
    # Whoever wrote who gave notice knew the future: no attribute. Names and addresses are for people, not for a model.
    assert sources["customers"] == {"path": "kunden.csv", "columns": {"customer_id": "Kundennr", "consent": "Newsletter"},
                                    "attributes": ["Region"]}  # fmt: skip
    proposal = propose(tmp_path / "in")
    assert proposal.for_eyes == ["Firma", "E-Mail"]
    assert "may know who left: Kündigungsstatus" in str(proposal) and "not used         Rabatt %" in str(proposal)

    (tmp_path / "params.yaml").write_text(params_of(None, "in"))
    write_mapping(tmp_path / "params.yaml", proposal)
    assert load_settings(tmp_path / "params.yaml").lists.columns == ["Firma", "E-Mail"]
    write_settings(tmp_path / "params.yaml", {"sources.max_reject_share": 0.0})
    assert "# with a larger share of rejects" in (tmp_path / "params.yaml").read_text()


def test_lines_and_ratings_that_name_only_the_order_are_joined_to_it(tmp_path: Path) -> None:
    proposal = propose(delivered(tmp_path / "in", ENGLISH))
    sources = proposal.sources()
    joins = [{"path": "orders.csv", "on": ["order_id"]}]
    assert sources["transactions"] == {"path": "order_items.csv", "joins": joins, "columns": {
        "customer_id": "customer_id", "ordered_at": "order_date", "order_id": "order_id", "product_id": "sku",
        "quantity": "quantity", "unit_price": "unit_price"}}  # fmt: skip
    # A rating is known from its own day on: the day of the order would let a model see it early.
    assert sources["feedback"]["columns"]["rated_at"] == "review_date" and sources["feedback"]["joins"] == joins
    assert sources["customers"]["attributes"] == ["plan_type"] and proposal.unused == []
    assert "order_status holds canceled, shipped: leave out orders that do not count" in str(proposal)


@pytest.mark.parametrize(("files", "amount"), [(JAPANESE, "金額"), (POLISH, "Wartość")])
def test_other_languages(files: dict[str, str], amount: str, tmp_path: Path) -> None:
    found = mapped(tmp_path / "in", files)["transactions"]["columns"]
    assert found.keys() >= {"customer_id", "ordered_at", "order_id", "quantity"} and found["amount"] == amount


def test_the_whole_orders_total_on_every_line_is_not_the_lines(tmp_path: Path) -> None:
    lines = "order_id,date,customer,total{more}\n1,2024-01-01,a,30{x}\n1,2024-01-01,a,30{y}\n2,2024-01-05,b,7{x}\n"
    priced = mapped(tmp_path / "priced", {"lines.csv": lines.format(more=",qty,price", x=",1,10", y=",2,10")})
    assert "amount" not in priced["transactions"]["columns"] and priced["transactions"]["columns"]["unit_price"] == "price"
    only = propose(delivered(tmp_path / "only", {"lines.csv": lines.format(more="", x="", y="")}))
    assert "total is the same on every line of an order" in str(only)


def test_subscriptions_and_what_nobody_can_tell(tmp_path: Path) -> None:
    contracts = {
        "c.csv": "contract_id,customer_no,start_date,end_date,plan\n1,a,2020-01-01,,x\n2,b,2021-01-01,2022-01-01,y\n"
    }
    assert mapped(tmp_path / "contracts", contracts)["subscriptions"]["columns"] == {
        "customer_id": "customer_no", "subscription_id": "contract_id", "started_date": "start_date",
        "ended_date": "end_date", "plan": "plan"}  # fmt: skip
    odd = propose(delivered(tmp_path / "odd", {"x.csv": "foo,bar\n1,2\n", "y.csv": "customer,colour\na,red\na,blue\n"}))
    assert not odd.is_usable and [line.split(":")[0] for line in odd.unused] == ["y.csv", "x.csv"]
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no file that lapse can read"):
        propose(tmp_path / "none")


def test_names_are_compared_without_accents_signs_and_case() -> None:
    assert plain_name("Numéro  de_Commande") == "numerodecommande" and plain_name("Ilość") == "ilosc"
    assert rank_of("CUSTOMER-ID", "customer_id") == 0 and rank_of("colour", "customer_id") is None
    assert rank_of("Rabatt %", "discount") is None


def test_a_check_that_misses_the_file_says_what_is_there(tmp_path: Path) -> None:
    delivered(tmp_path / "in", GERMAN)
    (tmp_path / "params.yaml").write_text(params_of(None, "in"))
    with pytest.raises(DataError, match=r"The folder holds kunden\.csv, rechnungen\.csv, tickets\.csv\..*`lapse mapping`"):
        Workspace(tmp_path).check()
