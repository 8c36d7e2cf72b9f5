"""What customers say: themes in seven languages, who churned after saying what, and nothing that says who wrote it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lapse.core.engine import Engine
from lapse.core.settings import Why
from lapse.core.tables.sources import FEEDBACK, SUBSCRIPTIONS
from lapse.core.windows import ChurnWindows, Period
from lapse.features.family import Inputs
from lapse.retention_report.themes import described_themes, embedder, sort_texts
from lapse.retention_report.why_behaviour import Question
from lapse.retention_report.why_words import (
    cancellations,
    churned_after,
    comments,
    example_sentences,
    reasons_by_segment,
    theme_sentences,
    themes_by_segment,
)
from tests.conftest import log_of, roll_up, validated

READY = described_themes({})
SAID = {
    "price": ["Far too EXPENSIVE", "viel zu teuer", "veel te duur", "altfor dyrt", "za drogo", "muito caro", "値段が高すぎる"],
    "delivery": ["it arrived two weeks late", "das Paket kam verspätet", "het pakket kwam te laat", "pakken ble forsinket",
                 "paczka przyszła spóźniona", "chegou atrasado", "配達が遅い"],
    "quality": ["it is broken", "ist kaputt", "het is kapot", "den er ødelagt", "jest zepsuty", "veio quebrado", "壊れていた"],
    "service": ["rude staff", "unfreundliches Personal", "onvriendelijk personeel", "uvennlige ansatte", "niemiła obsługa",
                "péssimo atendimento", "店員の態度が悪い"],
    "assortment": ["always sold out", "immer ausverkauft", "altijd uitverkocht", "alltid utsolgt", "mały asortyment",
                   "produto esgotado", "品揃えが少ない"],
    "competitor": ["found another shop", "gehe zur Konkurrenz", "naar de concurrent", "gått til en konkurrent",
                   "wybrałem konkurencję", "comprei no concorrente", "他社に変えた"],
    "no_longer_needed": ["I no longer need it", "ich bin umgezogen", "ik ben verhuisd", "jeg har flyttet", "przeprowadzka",
                         "não preciso mais", "引っ越した"],
}  # fmt: skip


@pytest.mark.parametrize("theme", SAID)
def test_ready_made_words_know_seven_languages(theme: str) -> None:
    assert [found for found, _ in sort_texts(SAID[theme], READY, None)] == [theme] * 7


def test_words_are_beginnings_and_short_ones_are_whole() -> None:
    own = Why.model_validate({"themes": {"parking": {"words": ["park", "garage"]}, "price": None}}).themes
    themes = described_themes(own)
    texts = ["No place to PARK", "Spark plugs", "two garages", "so expensive", "a parked car"]
    assert [theme for theme, _ in sort_texts(texts, themes, None)] == ["parking", "other", "parking", "other", "other"]
    with pytest.raises(ValueError, match="words or examples"):
        Why.model_validate({"themes": {"empty": {}}})


def test_the_nearest_example_decides_only_where_no_word_does() -> None:
    axes = {"caldo": 0, "no place for the car": 1, "Dove metto la macchina?": 1}

    def embed(texts: Any) -> Any:
        return np.eye(3, dtype="float32")[[axes.get(text, 2) for text in texts]]

    own = Why.model_validate({"themes": {"parking": {"examples": ["no place for the car"]}}}).themes
    found = sort_texts(["Dove metto la macchina?", "troppo caro"], described_themes(own), embed)
    assert [theme for theme, _ in found] == ["parking", "price"]


@pytest.mark.skipif(embedder() is None, reason="needs the extra [themes]")
def test_the_extra_understands_a_language_without_words() -> None:
    themes = {name: theme.model_copy(update={"words": []}) for name, theme in READY.items()}
    texts = ["Il pacco non è mai arrivato", "È troppo costoso per me", "Si è rotto dopo una settimana"]
    assert [theme for theme, _ in sort_texts(texts, themes, embedder())] == ["delivery", "price", "quality"]


FIRST, CUTOFF = date(2024, 1, 1), date(2024, 4, 30)
PERIOD = Period(FIRST, date(2024, 7, 31), date(2024, 7, 31))
ASKED = Question(60, ChurnWindows(active_days=90, horizon_days=30), Inputs((30,), frozenset()))


def rated(customer: str, day: date, rating: int, comment: str | None) -> dict[str, Any]:
    return {"customer_id": customer, "rated_at": f"{day} 10:00:00", "rating": rating, "comment": comment}


def shop(engine: Engine) -> tuple[dict[str, Any], pd.DataFrame]:
    """Twenty customers: c0 to c7 complain about the delivery and six of them leave; of the others three leave."""
    leave = {0, 1, 2, 3, 4, 5, 8, 9, 10}
    lines = [{"customer_id": f"c{n}", "ordered_at": str(day), "amount": 5} for n in range(20)
             for day in (CUTOFF - timedelta(days=20), *(() if n in leave else (CUTOFF + timedelta(days=9),)))]  # fmt: skip
    said = [rated(f"c{n}", CUTOFF - timedelta(days=5), 1, f"Arrived late, says c{n}, call 0171 2345678") for n in range(8)]
    said += [rated("c12", CUTOFF, 5, "Fast  delivery, thanks"), rated("c13", CUTOFF - timedelta(days=60), 1, "late again"),
             rated("c14", CUTOFF + timedelta(days=1), 1, "late once more"), rated("c15", CUTOFF, 3, None)]  # fmt: skip
    activity = roll_up(log_of(engine, lines, feedback=said))
    return activity, comments(engine, validated(engine, FEEDBACK, said), (1, 5), CUTOFF + timedelta(days=1), READY, None)


def test_who_complained_is_held_against_the_others_at_the_same_cutoff(engine: Engine) -> None:
    activity, said = shop(engine)
    assert set(said["theme"]) == {"delivery"} and said["mood"].value_counts().to_dict() == {"complaint": 10, "praise": 1}
    found = churned_after(engine, activity, said, [CUTOFF], PERIOD, ASKED).set_index(["theme", "mood"])
    complained = found.loc[("delivery", "complaint")]
    assert (complained["customers"], complained["churned"], complained["others_rate"]) == (8, 6, 25.0), (
        "c13 too early, c14 too late"
    )
    assert found.loc[("delivery", "any"), "customers"] == 9 and found.loc[("delivery", "praise"), "churned"] == 0
    segments = pd.DataFrame({"region": ["north"] * 4}, index=[f"c{n}" for n in range(4)])
    themes = themes_by_segment(said, segments)
    whole = themes[themes["period_kind"] == "all"].set_index("segment")
    assert (whole.loc["north", "texts"], whole.loc["all", "texts"], whole.loc["all", "complaints"]) == (4, 11, 10)
    assert themes[(themes["segment"] == "all") & (themes["period_kind"] == "quarter")]["texts"].sum() == 11
    (few,) = theme_sentences(themes, found.reset_index())
    assert few == "delivery: 100% of the comments (11), of them 10 complaints and 1 praise."
    (sentence,) = theme_sentences(themes, found.reset_index().assign(customers=lambda rows: rows["customers"] * 10))
    assert sentence.startswith("delivery: 100% of the comments (11), of them 10 complaints and 1 praise. Of 80 who had complained "
                               "about it, 75.0% churned later (95%: ")  # fmt: skip
    nobody = comments(engine, validated(engine, FEEDBACK, []), None, CUTOFF, READY, None)
    assert churned_after(engine, activity, nobody, [CUTOFF], PERIOD, ASKED).empty
    assert theme_sentences(themes_by_segment(nobody, segments), found.head(0).reset_index()) == []


def test_examples_do_not_say_who_wrote_them(engine: Engine) -> None:
    shown = example_sentences(shop(engine)[1], "delivery", "complaint")
    assert len(shown) == 3 and set(shown) == {"Arrived late, says …, call …"}


OWN_WORDS = {6: "far too expensive for me", 7: "Te duur geworden", 8: "my very own reason"}


def test_reasons_are_counted_when_the_end_is_known(engine: Engine) -> None:
    ends = [{"customer_id": f"c{n}", "started_date": "2023-01-01", "ended_date": f"2024-0{1 + n % 4}-15",
             "end_reason": "moved" if n < 6 else OWN_WORDS.get(n)} for n in range(12)]  # fmt: skip
    ends.append({**ends[0], "customer_id": "late", "end_recorded_date": "2024-06-01"})
    found = cancellations(engine, validated(engine, SUBSCRIPTIONS, ends), CUTOFF, READY, None)
    assert found["reason"].value_counts().to_dict() == {"moved": 6, "none": 3, "price": 2, "(rare)": 1}
    table = reasons_by_segment(found, pd.DataFrame())
    quarters = table[table["period_kind"] == "quarter"].groupby("period_start")["ends"].sum()
    assert quarters.to_dict() == {date(2024, 1, 1): 9, date(2024, 4, 1): 3}
