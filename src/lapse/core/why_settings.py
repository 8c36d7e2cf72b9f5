"""Section why of params.yaml: how far back leavers are looked at, what texts are about, which event joins the programme."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from lapse.core.source_settings import Days, Name, Section

Text = Annotated[str, Field(min_length=1)]


class Theme(Section):
    """What a text may be about: words that say so, and sentences that stand for it, in any language."""

    words: list[Text] = Field(default_factory=list)
    """Beginnings of words; up to four letters: whole words."""
    examples: list[Text] = Field(default_factory=list)

    @model_validator(mode="after")
    def _is_described(self) -> Theme:
        if not self.words and not self.examples:
            raise ValueError("a theme needs words or examples")
        return self


class Why(Section):
    """Why customers leave."""

    days: Days = 90
    """So many days before they fell silent, or before the last cutoff of a contract, leavers are looked at."""
    themes: dict[Name, Theme | None] = Field(default_factory=dict)
    """Beside the ready-made ones; one of the same name replaces it, null takes it out."""
    loyalty_event: Text | None = None
    """The event type by which a customer joins the loyalty programme."""
