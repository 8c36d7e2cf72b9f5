"""A number in any supported spelling is the same number; none is ever wrong by a factor of 1,000."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lapse.core.engine import DuckEngine, open_duckdb
from lapse.history.validation.amounts import Number, number_spelling
from lapse.history.validation.spelling import PARSED, Delivered, Spelling
from tests.unit.history.history_cases import Validate

Read = Callable[..., tuple[list[Decimal | None], Spelling]]


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckEngine]:
    with open_duckdb(threads=1) as opened:
        yield opened


@pytest.fixture
def read(engine: DuckEngine) -> Read:
    """Texts of one column in, what they are read as out, in their order, and how."""

    def run(
        texts: list[str], decimal: str | None = None, percent: str | None = None, *, is_money: bool = True
    ) -> tuple[list[Decimal | None], Spelling]:
        engine.connection.execute("CREATE OR REPLACE TEMP TABLE given (c1 VARCHAR, copies BIGINT)")
        engine.connection.executemany("INSERT INTO given VALUES (?, 1)", [[text] for text in texts])
        number = Number("sources.transactions", "amount", is_money, percent)
        found = number_spelling(Delivered(engine, "given", "c1", "VARCHAR"), "c1", number, decimal)
        doubts = " OR ".join(f"coalesce({doubt.condition}, false)" for doubt in found.doubts) or "false"
        value = f"CASE WHEN NOT ({doubts}) THEN {found.value} END".replace(PARSED, "p")
        rows = engine.connection.execute(
            f"SELECT {value} FROM (SELECT *, {found.parsed or 'c1'} AS p FROM given)"
        ).fetchall()
        return [row[0] for row in rows], found

    return run


RIGHT = {
    "57.70": "57.70", "€57,70": "57.70", "57,70 €": "57.70", "EUR 57,70": "57.70", "57,70EUR": "57.70", "US$57.70": "57.70",
    "USD 1,234.50": "1234.50", "1 234,50 zł": "1234.50", "1\u00a0234,50": "1234.50", "1\u202f234,50 €": "1234.50",
    "1'234.50": "1234.50", "CHF 1’234.50": "1234.50", "1.234,50": "1234.50", "1,234,567": "1234567", "1.234.567": "1234567",
    "1,23,456.70": "123456.70", "₹1,00,000": "100000", "12,-": "12", "12.-": "12", "Fr. 12.–": "12", "1.234,-": "1234",
    "(12.50)": "-12.50", "($1,234.50)": "-1234.50", "$(1,234.50)": "-1234.50", "12.50-": "-12.50", "−12,50": "-12.50",
    "-€5,20": "-5.20", "€-5,20": "-5.20", "5,20 €-": "-5.20", "+7.5": "7.5", ",5": "0.5", ".5": "0.5", "12.": "12", "1e3": "1000",
    "R$ 10,00": "10", "10,00 kr": "10", "10,00 Kč": "10", "0,234": "0.234", "1234,567": "1234.567", "0": "0", "$12.50 CAD": "12.50",
    "1,5E+03": "1500", "12 345": "12345", "12,3456": "12.3456", "9,99 Euro": "9.99",
}  # fmt: skip
WRONG = [
    "1,23,4", "1.2.3", "12.34.567,8", "1,2,3", "--5", "-(5)", "(5", "5)", "-5-", "abc", "12 34", "1 2345", "12%", "€", "-", "1/2",
    "5 apples", "1_000", "0x10", "nan", "inf", "12:30", "2024-05-15", "1e", "12€50", "XYZ 5", "5k", "1.5m", "ten", "1,2345,678",
    "¢5", "99999999999999999999",
]  # fmt: skip


@pytest.mark.parametrize(("text", "number"), RIGHT.items())
def test_an_amount_as_people_write_it(read: Read, text: str, number: str) -> None:
    assert read([text])[0] == [Decimal(number)]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_amount_stays_unread(read: Read, text: str) -> None:
    assert read([text])[0] == [None]


@pytest.mark.parametrize("text", ["1,234", "1.234", "-12,500", "€1.234", "999.999"])
def test_a_column_that_could_be_a_thousand_times_as_much_is_refused(read: Read, text: str) -> None:
    values, spelling = read([text, "12"])
    assert values == [None, Decimal(12)]
    (doubt,) = spelling.doubts
    assert doubt.reason == "amount could be a thousand times as much: its decimal sign is not known"
    assert "With a point as the decimal sign 1 such values can be read, with a comma 1; 1 with either." in doubt.advice
    assert 'decimal: "."' in doubt.advice and 'decimal: ","' in doubt.advice and "sources.transactions" in doubt.advice


def test_the_whole_column_decides(read: Read) -> None:
    assert read(["1,234", "57.70"])[0] == [Decimal(1234), Decimal("57.70")]
    assert read(["1,234", "57,70"])[0] == [Decimal("1.234"), Decimal("57.70")]
    assert read(["1.234", "57,70"])[0] == [Decimal(1234), Decimal("57.70")]
    assert read(["1.234", "57.70"])[0] == [Decimal("1.234"), Decimal("57.70")]
    assert read(["1,234", "57,70", "57.70"])[0] == [None, Decimal("57.70"), Decimal("57.70")]
    assert read(["1.234"] * 2000 + ["57.70"])[0][0] is None, "one odd value does not turn 2,000"


@pytest.mark.parametrize(("decimal", "values"), [(".", [1234, None, "1.234"]), (",", ["1.234", "57.70", 1234])])
def test_the_sign_that_params_name_rules(read: Read, decimal: str, values: list[str | int | None]) -> None:
    expected = [None if value is None else Decimal(value) for value in values]
    assert read(["1,234", "57,70", "1.234"], decimal)[0] == expected


def test_another_currency_is_not_added_up(read: Read) -> None:
    values, spelling = read(["€5,00", "EUR 6,00", "7,00", "$8.00"])
    assert values == [Decimal(5), Decimal(6), Decimal(7), None]
    assert spelling.doubts[-1].reason == "amount is in another currency than EUR"


def test_money_is_no_quantity_and_a_percentage_no_money(read: Read) -> None:
    assert read(["€5", "5 kg", "5"], is_money=False)[0] == [None, None, Decimal(5)]
    assert read(["80 %", "75,5%", "60"], percent="1", is_money=False)[0] == [Decimal(80), Decimal("75.5"), Decimal(60)]
    assert read(["80 %", "0.6"], percent="0.01", is_money=False)[0] == [Decimal("0.8"), Decimal("0.6")]


def written(number: Decimal, group: str, sign: str, mark: str, place: int, negative: str) -> str:
    text = f"{abs(number):,.2f}".translate({ord(","): group, ord("."): sign})
    text = {0: text, 1: f"{mark}{text}", 2: f"{text} {mark}"}[place]
    if number >= 0:
        return text
    return {"front": f"-{text}", "behind": f"{text}-", "brackets": f"({text})"}[negative]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.decimals(-9_999_999, 9_999_999, places=2), min_size=1, max_size=4),
    marks=st.sampled_from(
        [(",", "."), (".", ","), (" ", ","), ("\u202f", ","), ("'", "."), ("", "."), ("", ","), ("\u00a0", ".")]
    ),
    currency=st.sampled_from(["€", "$", "£", "CHF", "zł", "EUR", "kr"]),
    place=st.integers(0, 2),
    negative=st.sampled_from(["front", "behind", "brackets"]),
)
def test_a_number_in_any_spelling_reads_back(
    read: Read, numbers: list[Decimal], marks: tuple[str, str], currency: str, place: int, negative: str
) -> None:
    texts = [written(number, *marks, currency, place, negative) for number in numbers]
    assert read(texts)[0] == numbers


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 9_999_999), min_size=1, max_size=4), st.sampled_from([",", "."]))
def test_thousands_are_never_read_as_ones(read: Read, numbers: list[int], group: str) -> None:
    found = read([f"{number:,}".replace(",", group) for number in numbers])[0]
    assert all(got in (None, Decimal(number)) for number, got in zip(numbers, found, strict=True))


def test_an_amount_follows_from_quantity_and_unit_price(folder: Path, run_validate: Validate) -> None:
    (folder / "lines.csv").write_text(
        'who,at,n,price\na,2020-01-01,3,"1.234,50"\nb,2020-01-02,-2,"0,05"\nc,2020-01-03,,"2,50"\nd,2020-01-04,2,\n'
        'e,2020-01-05,9000,"900,00"\n'
    )
    columns = {"customer_id": "who", "ordered_at": "at", "quantity": "n", "unit_price": "price"}
    found = run_validate(transactions={"path": "lines.csv", "columns": columns})
    rows = found.rows(columns="customer_id, amount, is_return")
    assert rows == [("a", Decimal("3703.5"), False), ("b", Decimal("-0.1"), True)]
    assert found.reasons() == {"quantity is missing": 1, "unit_price is missing": 1,
                               "unit_price makes an amount beyond 1e+06 (max_amount)": 1}  # fmt: skip


def test_a_derivation_that_fails_shows_the_cells_it_reads(folder: Path, run_validate: Validate) -> None:
    (folder / "lines.csv").write_text('who,at,n,price\na,2020-01-01,3,"1,50"\nb,2020-01-02,1,2.00\n')
    source = {"path": "lines.csv", "columns": {"customer_id": "who", "ordered_at": "at"},
              "derive": {"amount": "CAST(n AS DOUBLE) * CAST(Price AS DOUBLE)"}}  # fmt: skip
    told = str(run_validate(transactions=source).reject("amount cannot be derived"))
    assert "e.g. n '3', price '1,50'" in told and "map quantity and unit_price" in told
