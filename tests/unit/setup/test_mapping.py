"""What the files of a delivery are taken for, in several languages, and what is left open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lapse.cli import app
from lapse.core.errors import DataError
from lapse.core.settings import load_settings
from lapse.setup.column_words import plain_name, rank_of
from lapse.setup.init import init, params_of, write_mapping
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


CANCELED = """COALESCE(TRIM("order_status"), '') NOT IN ('canceled')"""


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
    assert "may know what came later: Kündigungsstatus" in str(proposal) and "not used         Rabatt %" in str(proposal)

    (tmp_path / "params.yaml").write_text(params_of(None, "in"))
    write_mapping(tmp_path / "params.yaml", proposal)
    lists = load_settings(tmp_path / "params.yaml").lists
    assert lists.columns == ["Firma", "E-Mail"] and lists.contact.email == "E-Mail"
    write_settings(tmp_path / "params.yaml", {"sources.max_reject_share": 0.0})
    assert "# with a larger share of rejects" in (tmp_path / "params.yaml").read_text()


def test_lines_and_ratings_that_name_only_the_order_are_joined_to_it(tmp_path: Path) -> None:
    proposal = propose(delivered(tmp_path / "in", ENGLISH))
    sources = proposal.sources()
    joins = [{"path": "orders.csv", "on": ["order_id"]}]
    assert sources["transactions"] == {"path": "order_items.csv", "joins": joins, "where": CANCELED, "columns": {
        "customer_id": "customer_id", "ordered_at": "order_date", "order_id": "order_id", "product_id": "sku",
        "quantity": "quantity", "unit_price": "unit_price"}}  # fmt: skip
    # A rating is known from its own day on: the day of the order would let a model see it early.
    assert sources["feedback"]["columns"]["rated_at"] == "review_date" and sources["feedback"]["joins"] == joins
    assert sources["customers"]["attributes"] == ["plan_type"] and proposal.unused == []
    assert "orders with canceled are left out, those with shipped count" in str(proposal)


@pytest.mark.parametrize(("files", "amount"), [(JAPANESE, "金額"), (POLISH, "Wartość")])
def test_other_languages(files: dict[str, str], amount: str, tmp_path: Path) -> None:
    found = mapped(tmp_path / "in", files)["transactions"]["columns"]
    assert found.keys() >= {"customer_id", "ordered_at", "order_id", "quantity"} and found["amount"] == amount


def test_the_whole_orders_total_on_every_line_is_not_the_lines(tmp_path: Path) -> None:
    lines = "order_id,date,customer,total{more}\n1,2024-01-01,a,30{x}\n1,2024-01-01,a,30{y}\n2,2024-01-05,b,7{x}\n"
    priced = mapped(tmp_path / "priced", {"lines.csv": lines.format(more=",qty,price", x=",1,10", y=",2,10")})
    assert "amount" not in priced["transactions"]["columns"] and priced["transactions"]["columns"]["unit_price"] == "price"
    only = propose(delivered(tmp_path / "only", {"lines.csv": lines.format(more="", x="", y="")}))
    assert "total: the same on every line of an order" in str(only) and "amount" not in only.tables[0].columns
    beside = mapped(tmp_path / "beside", {"lines.csv": lines.format(more=",line total", x=",10", y=",20")})
    assert beside["transactions"]["columns"]["amount"] == "line total"


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


def test_cells_on_the_first_line_of_an_order_only_are_asked_for(tmp_path: Path) -> None:
    lines = "order;date;customer;total\n1;2024-01-05;a;1\u202f200,50 €\n1;2024-01-05;;3,00 €\n2;2024-01-16;b;2,00 €\n"
    proposal = propose(delivered(tmp_path / "in", {"lines.csv": lines}))
    assert proposal.sources()["transactions"]["columns"]["amount"] == "total"
    assert "customer is empty on 1 of 3 rows: guests, or" in str(proposal)


def test_names_are_compared_without_accents_signs_and_case() -> None:
    assert plain_name("Numéro  de_Commande") == "numerocommande" and plain_name("Ilość") == "ilosc"
    assert rank_of("CUSTOMER-ID", "customer_id") == 0 and rank_of("colour", "customer_id") is None
    assert rank_of("Rabatt %", "discount") is None


def test_a_check_that_misses_the_file_says_what_is_there(tmp_path: Path) -> None:
    delivered(tmp_path / "in", GERMAN)
    (tmp_path / "params.yaml").write_text(params_of(None, "in"))
    with pytest.raises(DataError, match=r"The folder holds kunden\.csv, rechnungen\.csv, tickets\.csv\..*`lapse mapping`"):
        Workspace(tmp_path).check()


def test_orders_that_came_to_nothing_are_left_out_in_several_languages(tmp_path: Path) -> None:
    order = "N° commande;Date de commande;N° client;Total TTC;Statut\n1;03/02/2024;A;5,00;Livrée\n2;14/02/2024;B;6,00;{}\n"
    found = mapped(tmp_path / "fr", {"commandes.csv": order.format("Annulée")})["transactions"]
    assert found["where"] == """COALESCE(TRIM("Statut"), '') NOT IN ('Annulée')"""
    assert found["columns"] == {"customer_id": "N° client", "ordered_at": "Date de commande", "order_id": "N° commande",
                                "amount": "Total TTC"}  # fmt: skip
    (tmp_path / "params.yaml").write_text(params_of(None, "fr"))
    write_mapping(tmp_path / "params.yaml", propose(tmp_path / "fr"))
    assert load_settings(tmp_path / "params.yaml").sources.transactions.where == found["where"]  # type: ignore[union-attr]
    in_part = propose(delivered(tmp_path / "part", {"commandes.csv": order.format("partially refunded")}))
    assert "where" not in in_part.sources()["transactions"]
    assert "those with Livrée, partially refunded count; see whether" in str(in_part)


def test_what_a_customers_file_knows_from_later_is_no_attribute(tmp_path: Path) -> None:
    """Totals up to the day of the export would tell a model at every earlier cutoff who went on buying."""
    late = ["Total Orders", "Payment Count", "Aantal bestellingen", "Laatste bestelling op", "nombre de commandes"]
    people = "Customer ID,Country Code,Account type," + ",".join(late) + "\n"
    people += "a,x,y," + ",".join("1" * len(late)) + "\nb,z,w," + ",".join("2" * len(late)) + "\n"
    proposal = propose(delivered(tmp_path / "in", {"people.csv": people}))
    assert proposal.sources()["customers"]["attributes"] == ["Country Code", "Account type"]
    assert all(name in proposal.tables[0].questions[0] for name in late)


def test_customers_are_keyed_by_what_the_orders_call_a_customer(tmp_path: Path) -> None:
    payments = "id,Created,Amount,Currency,Customer ID,Customer Email\np1,2024-01-05,5,eur,cus_1,a@x.example\n"
    payments += "p2,2024-01-16,6,gbp,cus_2,b@x.example\n"
    people = "id,Email,Name\ncus_1,a@x.example,A\ncus_2,b@x.example,B\n"
    proposal = propose(delivered(tmp_path / "in", {"payments.csv": payments, "people.csv": people}))
    assert proposal.sources()["customers"]["columns"] == {"customer_id": "id"}
    assert "Currency holds eur, gbp: amounts are added as they stand" in str(proposal)
    other = propose(delivered(tmp_path / "in", {"people.csv": people.replace("cus_", "c").replace("x.ex", "y.ex")}))
    assert "0% of the customers are in this file and in payments.csv: see whether" in str(other)


def test_an_export_of_a_known_shop_system_is_recognised(tmp_path: Path) -> None:
    head = ["Name", "Email", "Financial Status", "Created at", "Cancelled at", "Payment Method", "Lineitem quantity",
            "Lineitem name", "Lineitem price", "Lineitem sku", "Lineitem discount", "Total"]  # fmt: skip
    orders = (
        ",".join(head) + "\n#1,A@x.example,paid,2024-01-05 10:00:00 +0000,,Visa,1,T,5.00,S,0,11.00\n#1,,,,,,2,U,3.00,R,0,\n"
    )
    people = "Customer ID,Email\n77,a@x.example\n78,b@x.example\n"
    proposal = propose(delivered(tmp_path / "in", {"orders_export_1.csv": orders, "people.csv": people}))
    sources = proposal.sources()
    assert (
        sources["transactions"]["fill_down"][0] == "Email" and "total" not in str(sources["transactions"]["columns"]).lower()
    )
    assert sources["customers"]["derive"] == {"customer_id": 'LOWER(TRIM("Email"))'}
    assert "`lapse init --source shopify_orders`" in str(proposal)
    (tmp_path / "params.yaml").write_text(params_of(None, "in"))
    write_mapping(tmp_path / "params.yaml", proposal)
    assert load_settings(tmp_path / "params.yaml").sources.customers is not None


def test_a_workspace_is_made_although_no_file_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lapse.setup.init._set_up_dvc", lambda folder: [])
    (delivered(tmp_path / "in", {}) / "a.xlsx").write_bytes(b"no workbook")
    done = init(tmp_path / "shop", None, "../in")
    (said,) = [line for line in done if "no mapping is proposed" in line]
    assert "a.xlsx cannot be read" in said and "mapping.0" not in said
    assert "already a workspace" in init(tmp_path / "shop", None, "../in")[0]


def test_a_terminal_does_not_obey_what_a_delivery_calls_its_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lapse.setup.init._set_up_dvc", lambda folder: [])
    delivered(
        tmp_path / "in", {"o.csv": "order_id,date,customer,total,\x1b]0;x\x07\n1,2024-01-05,a,1,2\n2,2024-01-16,b,2,3\n"}
    )
    said = CliRunner().invoke(app, ["init", str(tmp_path / "shop"), "--data", "../in"]).output
    assert "not used" in said and "\x1b" not in said and "\x07" not in said


def test_customers_by_other_names(tmp_path: Path) -> None:
    """A practice's patients, a club's members: whoever buys is a customer."""
    for who, order in (("Patiëntnummer", "Afspraaknr"), ("Mitgliedsnr", "Buchungsnr"), ("Donor ID", "Donation ID")):
        folder = delivered(
            tmp_path / plain_name(who),
            {"a.csv": f"{order};{who};Datum;Betrag\n1;p1;05-01-2024;32,50\n2;p2;16-01-2024;48,10\n"},
        )
        (found,) = propose(folder).tables
        assert (found.table, found.columns["customer_id"], found.columns["order_id"]) == ("transactions", who, order)


def test_every_filled_sheet_of_a_workbook_is_looked_at_as_a_file_of_its_own(tmp_path: Path) -> None:
    from xlsxwriter import Workbook

    (tmp_path / "in").mkdir()
    book = Workbook(tmp_path / "in" / "agenda.xlsx")
    visits, holders, _ = (book.add_worksheet(name) for name in ("Afspraken", "Klanten", "Leeg"))
    for number, row in enumerate((["Salon De Natte Neus"], [], ["Afspraaknr.", "Klantnr.", "Datum", "Behandeling", "Bedrag incl. btw", "Status"],
                ["1", "K1", "14-09-2026", "Wassen", "€ 38,00", "Voltooid"],
                ["2", "K2", "15-09-2026", "Knippen", "€ 15,00", "No-show"])):  # fmt: skip
        visits.write_row(number, 0, row)
    for number, row in enumerate((["Klantnr.", "Naam", "Ras"], ["K1", "Ann", "Poedel"], ["K2", "Bo", "Teckel"])):
        holders.write_row(number, 0, row)
    book.close()
    sources = propose(tmp_path / "in").sources()
    assert sources["transactions"] == {"path": "agenda.xlsx", "sheet": "Afspraken", "columns": {
        "customer_id": "Klantnr.", "ordered_at": "Datum", "order_id": "Afspraaknr.", "product_id": "Behandeling",
        "amount": "Bedrag incl. btw"}, "where": """COALESCE(TRIM("Status"), '') NOT IN ('No-show')"""}  # fmt: skip
    assert sources["customers"] == {"path": "agenda.xlsx", "sheet": "Klanten", "columns": {"customer_id": "Klantnr."},
                                    "attributes": ["Ras"]}  # fmt: skip


def test_an_amount_with_tax_is_the_amount_and_a_tax_is_none() -> None:
    assert rank_of("Bedrag (incl. BTW)", "amount") == rank_of("bedrag", "amount") is not None
    assert rank_of("BTW-bedrag", "amount") is None


def test_numbers_of_pieces_articles_and_clients_are_known_by_any_word_for_an_id(tmp_path: Path) -> None:
    sources = mapped(tmp_path / "in", {
        "ventes.csv": "Code client;N° pièce;Date pièce;Réf. article;Famille;Qté;Montant HT\n"
                      "C1;FA1;02/01/2023;A1;Sucres;6;124,96\nC2;FA2;13/01/2023;A2;Levures;1;17,17\n",
        "clients.csv": "Code client;Raison sociale;Accord e-mailing;Type marketing\nC1;Un;Oui;x\nC2;Deux;Non;y\n",
    })  # fmt: skip
    assert sources["transactions"]["columns"] == {
        "customer_id": "Code client", "ordered_at": "Date pièce", "order_id": "N° pièce", "product_id": "Réf. article",
        "category": "Famille", "quantity": "Qté", "amount": "Montant HT"}  # fmt: skip
    # Who agreed to be reached is told by a column of yes and no; a name alone does not make one.
    assert sources["customers"]["columns"] == {"customer_id": "Code client", "consent": "Accord e-mailing"}
    assert rank_of("Kd.-Nr.", "customer_id") is not None and rank_of("Ticket ID", "order_id") is None


def test_contracts_as_a_billing_system_exports_them(tmp_path: Path) -> None:
    head = "id,Customer ID,Plan,Start Date (UTC),Status,Canceled At (UTC),Ended At (UTC),Cancellation Reason\n"
    rows = "s1,a,team,2025-08-09 00:00,canceled,2025-11-17 11:16,2025-12-09 00:00,unused\ns2,b,team,2025-09-01 00:00,active,,,\n"
    invoices = "Invoice ID,Customer,Date (UTC),Amount\ni1,a,2025-08-09,79\ni2,b,2025-09-13,79\n"
    proposal = propose(delivered(tmp_path / "in", {"subscriptions.csv": head + rows, "invoices.csv": invoices}))
    assert proposal.sources()["subscriptions"]["columns"] == {
        "customer_id": "Customer ID", "subscription_id": "id", "plan": "Plan", "started_date": "Start Date (UTC)",
        "ended_date": "Ended At (UTC)", "end_recorded_date": "Canceled At (UTC)",
        "end_reason": "Cancellation Reason"}  # fmt: skip
    # Who pays for contracts is lost when one ends, not when an invoice fails to come.
    assert proposal.of_contracts["churn.mode"] == "subscription" and "churn is the end of one" in str(proposal)
    (tmp_path / "params.yaml").write_text(params_of(None, "in"))
    write_mapping(tmp_path / "params.yaml", proposal)
    settings = load_settings(tmp_path / "params.yaml")
    assert (settings.churn.mode, settings.churn.horizon_days, settings.value.value_days) == ("subscription", 90, 365)
    write_settings(tmp_path / "params.yaml", {"churn.mode": "decline", "churn.horizon_days": 30})
    write_mapping(tmp_path / "params.yaml", proposal)
    assert load_settings(tmp_path / "params.yaml").churn.horizon_days == 30, "another mode is somebody's choice"


GYM = {"accesos.csv": "Nº socio;Fecha entrada;Sala\nS1;04/08/2025 11:23;A\nS1;18/08/2025 10:19;B\nS2;17/08/2025 21:39;A\n",
       "socios.csv": "Nº socio;Nombre;Correo;Fecha alta;Tarifa;Acepta publicidad\nS1;Uno;s1@ejemplo.example;01/02/2024;Anual;Sí\n"
                     "S2;Dos;s2@ejemplo.example;13/05/2024;Anual;No\n"}  # fmt: skip


def test_visits_are_orders_where_there_are_none_and_events_beside_them(tmp_path: Path) -> None:
    proposal = propose(delivered(tmp_path / "gym", GYM))
    sources = proposal.sources()
    # Contracts of which nobody can say that they ended tell of no churn: a file of members is a file of customers.
    assert "subscriptions" not in sources and proposal.email == "Correo"
    assert sources["customers"]["columns"] == {"customer_id": "Nº socio", "consent": "Acepta publicidad"}
    assert sources["transactions"]["columns"] == {"customer_id": "Nº socio", "ordered_at": "Fecha entrada"}
    assert "a day on which somebody came counts as one" in str(proposal)
    shop = {**GYM, "ventas.csv": "Nº socio;Fecha;Importe\nS1;04/08/2025;12,00\nS2;17/08/2025;3,00\n"}
    beside = mapped(tmp_path / "shop", shop)
    assert beside["transactions"]["path"] == "ventas.csv" and beside["events"]["derive"] == {"event_type": "'accesos'"}


def test_events_alone_are_orders_too(tmp_path: Path) -> None:
    events = '{"user_id":7,"ts":"2025-09-15T23:41:49Z","event_name":"share"}\n{"user_id":8,"ts":"2025-09-16T03:00:00Z","event_name":"open"}\n'
    proposal = propose(delivered(tmp_path / "app", {"events.jsonl": events}))
    assert proposal.sources()["transactions"]["columns"] == {"customer_id": "user_id", "ordered_at": "ts"}
    assert proposal.sources()["events"]["columns"]["event_type"] == "event_name" and proposal.is_usable
    assert "churn is to do nothing any more" in str(proposal)


def test_a_delivery_that_is_empty_yet_is_named_as_a_person_would(tmp_path: Path) -> None:
    (tmp_path / "exports").mkdir()
    said = init(tmp_path / "shop", None, "../exports")
    assert f"no mapping yet, since {tmp_path / 'exports'} holds no file" in "\n".join(said)
