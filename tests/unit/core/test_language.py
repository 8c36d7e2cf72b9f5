"""What is said in other languages: every message has a translation with the same places, and numbers are right."""

from __future__ import annotations

import string
from collections.abc import Iterable
from datetime import date
from itertools import combinations
from typing import get_args

import numpy as np
import pytest
from babel.messages.extract import extract

from lapse.core import consent
from lapse.core.language import Language, as_text, catalogue, day, number, say, speaking, tell, told_in, words
from lapse.core.list_settings import ACTIONS, BY_REASON, READY_MADE, DeclaredList
from lapse.core.settings import load_settings
from lapse.core.tables import sources
from lapse.core.tables.contract import Table
from lapse.core.tables.lists import AT_RISK, SCORED_CUSTOMERS
from lapse.core.windows import Period
from lapse.features.catalogue import all_features
from lapse.features.causes import CAUSES
from lapse.features.family import Inputs
from lapse.features.messages import message_of
from lapse.features.names import names_in
from lapse.history.profile import DataProfile
from lapse.outreach import about, exports, spreadsheet, workbook
from lapse.outreach.decisions import REASONS
from lapse.outreach.expected import Expected
from lapse.outreach.heads import ListHead
from lapse.outreach.plans import ListPlan, list_plans
from lapse.outreach.scored_customers import STATES
from lapse.outreach.tally import ELSEWHERE
from lapse.scoring.reason_wording import KNOWN, WORDING, fill_in, nothing_unusual
from lapse.web import other_pages, wording
from lapse.web.app import REFUSALS
from tests.conftest import ROOT

DAY = date(2024, 3, 1)
OTHERS = [one for one in get_args(Language) if one != "en"]
TABLES = [one for one in vars(sources).values() if isinstance(one, Table)]
EVERYTHING = Inputs(
    windows=(30, 90, 180), given=frozenset({name for table in TABLES for name in (table.name, *table.names)} | {"time_of_day"}),
    event_types=("visit", "mail", "ticket", "closed"), responses={"mail": ("visit", "mail")},
    service={"complaint": ("ticket",)}, open_cases={"ticket": ("ticket", "closed")}, attributes={"age": (), "sex": ("m", "f")},
    plans=("basic",), horizon_days=30,
)  # fmt: skip
"""A delivery of everything that a reason can speak of."""


SAID_BY_NAME = {
    "high", "medium", "low", "email", "phone", "post", "none", BY_REASON, "value at stake", "churn risk", "expected profit",
    "Not on the list", "Consent", "As of", "What is foretold", "What churn means", "Model", "Reasons", "Assumed costs", "Not all",
    "the list ends at lists.max_customers", "the list ends at value.budget", "without consent", "without a usable address",
    "with an address that another one has", "Nothing unusual about the customer.", "Nothing unusual about them",
    "There is nothing to show yet", "Codes", "Overview", "About this list", "At risk",
}  # fmt: skip
"""What is said by the value of a variable."""
OF_FORMATS = {"today", "{0:n day|days} ago", "every day", "every {0:n day|days}", "in {0:n day|days}", "nothing", "no"}


def in_code() -> Iterable[str]:
    """Return the messages that code and templates say."""
    found = set()
    for path in (ROOT / "src" / "lapse").rglob("*"):
        kind = {".py": "python", ".html": "jinja2.ext:babel_extract"}.get(path.suffix)
        if kind and "language.py" not in path.name and (kind == "python" or path.parent.name == "templates"):
            with path.open("rb") as file:
                for _, message, _, _ in extract(kind, file, keywords={"say": None, "tell": None}):
                    found |= {message} if isinstance(message, str) else set()
    return found


def of_constants() -> set[str]:
    """Return the messages that are looked up by name."""
    listed = [AT_RISK, SCORED_CUSTOMERS]
    headings = {
        spreadsheet.HEADINGS.get(name) or name.replace("_", " ")
        for table in listed
        for name in table.names
        if name != "told"
    }
    return {
        *CAUSES.values(), *REASONS.values(), *ELSEWHERE.values(), *consent.STATES, *consent.STATES.values(), *STATES,
        *ACTIONS.values(), *spreadsheet.HEADINGS.values(), *(one[:1].upper() + one[1:] for one in headings),
        *wording.FACET_NAMES.values(), *wording.FORMATS.values(), *filter(None, wording.AGREED.values()),
        *other_pages.REPORTS.values(), *(title for _, title in REFUSALS.values()), exports.SINCE,
        *about.HEAD, *SAID_BY_NAME,
    }  # fmt: skip


def of_reasons() -> set[str]:
    known = [text for text in KNOWN if text]
    told = [nothing_unusual(dict.fromkeys((name for text in some for name in names_in(text)), 3.0))
            for count in range(len(known) + 1) for some in combinations(known, count)]  # fmt: skip
    every = [message for feature in all_features(EVERYTHING) for text, message in feature.messages.items() if text]
    return {
        *(message.text for message in every),
        *(one[0] for one in told),
        *(one[0] for nested in told for one in nested[1:]),
    }


def of_lists() -> set[str]:
    """Return the messages of lapse's own lists, and what they need where the delivery has none of it."""
    given = load_settings(ROOT / "params.yaml")
    churn = given.churn.model_copy(update={"mode": "subscription", "notice": "leaving"})
    found = set()
    for one in (given, given.model_copy(update={"churn": churn})):
        lists = one.lists.model_copy(update={"declared": {name: DeclaredList() for name in READY_MADE}})
        nothing = DataProfile(Period(DAY, DAY, DAY), {})
        for plan in list_plans(one.model_copy(update={"lists": lists}), nothing):
            found |= {plan.title, plan.action, plan.channel, *plan.missing}
    return found


def of_heads() -> set[str]:
    """Return the headings of what is said of a list."""
    plan = ListPlan("mine", "Mine", "true", "churn_risk", 1, BY_REASON)
    expected = Expected(1, 1.0, 1.0, (0, 1), 1.0, (0, 1), 1.0, (0, 1))
    head = ListHead(plan, 1, 1.0, str(DAY), "v", "B", "careful", {"gone": 1}, expected, ["left"], ["state"], "risk: high")
    return {*head.sentences, *workbook.OVERVIEW}


MESSAGES = sorted({*in_code(), *of_constants(), *of_reasons(), *of_lists(), *of_heads(), *OF_FORMATS})


def places(message: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(message) if name is not None}


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_has_a_translation_with_the_same_places(language: Language) -> None:
    told = catalogue(language)
    assert [message for message in MESSAGES if not told.get(message)] == []
    assert [message for message, text in told.items() if places(message) != places(text)] == []
    assert sorted(set(told) - set(MESSAGES)) == [], "nothing says these any more"


@pytest.mark.parametrize("language", OTHERS)
def test_every_translation_can_be_said(language: Language) -> None:
    with speaking(language):
        for message in MESSAGES:
            for shown in ("0", "1", "2", "5", "22", "1234.5"):
                values = {name: "2024-03-01" if f"{name}:day" in message else shown for name in places(message)}
                numbered = [values.get(str(place), "") for place in range(len(values))]
                assert say(message, *numbered, **{name: value for name, value in values.items() if not name.isdecimal()})


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ["1 order in the last 90 days, 2 fewer than in the 90 before", "no orders in the last 90 days, 1 more than in the 90 before"]),
        ("nl", ["1 bestelling in de afgelopen 90 dagen, 2 minder dan in de 90 daarvoor", "geen bestellingen in de afgelopen 90 dagen, 1 meer dan in de 90 daarvoor"]),
        ("nb", ["1 bestilling de siste 90 dagene, 2 færre enn de 90 før", "ingen bestillinger de siste 90 dagene, 1 flere enn de 90 før"]),
        ("pl", ["1 zamówienie w ostatnich 90 dniach, o 2 mniej niż w 90 wcześniejszych", "0 zamówień w ostatnich 90 dniach, o 1 więcej niż w 90 wcześniejszych"]),
        ("ja", ["直近90日間の注文は1回、その前の90日間より2回少ない", "直近90日間の注文は0回、その前の90日間より1回多い"]),
    ],
)  # fmt: skip
def test_a_reason_is_told_once_and_said_in_any_language(language: Language, said: list[str]) -> None:
    text = "{order_count_90d:#order} in the last 90 days, {change:,.0f more|fewer} than in the 90 before"
    message = message_of(
        "{order_count_{window}d:#order} in the last {window} days, {change:,.0f more|fewer} than in the {window} before",
        {"window": 90},
    )
    told = [
        fill_in(text, {"order_count_90d": count, "change": change}, np.nan, message)
        for count, change in ((1.2, -2.4), (0, 1))
    ]
    kept = told_in(as_text({"reason_1": told[0] or [], "reason_2": told[1] or []}))
    with speaking(language):
        assert [words(one) for one in kept.values()] == said


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", ["1 day ago", "2 days ago", "5 days ago", "22 days ago"]), ("nl", ["1 dag geleden", "2 dagen geleden", "5 dagen geleden", "22 dagen geleden"]),
     ("nb", ["for 1 dag siden", "for 2 dager siden", "for 5 dager siden", "for 22 dager siden"]),
     ("pl", ["1 dzień temu", "2 dni temu", "5 dni temu", "22 dni temu"]), ("ja", ["1日前", "2日前", "5日前", "22日前"])],
)  # fmt: skip
def test_nouns_go_by_the_printed_number(language: Language, said: list[str]) -> None:
    with speaking(language):
        assert [WORDING.format("{days:ago}", days=days) for days in (1.4, 1.6, 5, 22)] == said


def test_polish_nouns_have_three_forms() -> None:
    with speaking("pl"):
        said = [say("{count:n person|people}", count=count) for count in (0, 1, 2, 5, 12, 22, 25, 112)]
    assert said == ["0 osób", "1 osoba", "2 osoby", "5 osób", "12 osób", "22 osoby", "25 osób", "112 osób"]


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", ["12,345.60", "23%", "2024-03-01"]), ("nl", ["12.345,60", "23%", "1 mrt 2024"]), ("nb", ["12 345,60", "23 %", "1. mars 2024"]),
     ("pl", ["12 345,60", "23%", "1 mar 2024"]), ("ja", ["12,345.60", "23%", "2024/03/01"])],
)  # fmt: skip
def test_numbers_and_days_are_written_as_in_the_country(language: Language, said: list[str]) -> None:
    with speaking(language):
        assert [
            text.replace("\xa0", " ").replace("\u202f", " ") for text in (number(12345.6, 2), number("23%"), day(DAY))
        ] == said


def test_a_delivered_name_is_never_translated_nor_a_format() -> None:
    message = message_of(
        "last {event_type} {days_since_{event}:ago}, others typically {others:ago}",
        {"event_type": "to{d}ay_x", "event": "to_d_ay_x"},
    )
    told = tell(message.text, message.constants[0], "3", "9")
    with speaking("nl"):
        assert words(told) == "laatste to{d}ay x 3 dagen geleden, anderen doorgaans 9 dagen geleden"
