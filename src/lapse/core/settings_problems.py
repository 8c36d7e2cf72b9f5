"""What is wrong with params.yaml, in words: the place, the nearest valid key, what is accepted there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from lapse.core.source_settings import FORMS, Section, without_passwords
from lapse.core.tables.contract import nearest


def shown(value: object, most: int = 80) -> str:
    """Return a short text of a value that shows no password."""
    text = without_passwords(value if isinstance(value, str) else repr(value))
    return text if len(text) <= most else text[:most] + "…"


def first_problem(error: ValidationError, settings: type[BaseModel]) -> str:
    """Return the problem of params.yaml to say first, with the nearest valid key of the settings or what is accepted."""
    # A misspelled key is both unknown and missing: the misspelling is the one to show.
    problems: list[Any] = [
        {**problem, "loc": tuple(part for part in problem["loc"] if part not in FORMS)}
        for problem in error.errors(include_url=False)
    ]
    problem = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    loc, words = _or_a_word(problem, problems)
    place = ".".join(shown(part) for part in loc)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {place!r}. {nearest(str(problem['loc'][-1]), _keys_of(problem['loc'][:-1], settings))}"
    if problem["type"] == "missing":
        return f"the key {place!r} is missing. Add it; params.yaml of the repository shows every key with a comment."
    message = problem["msg"].removeprefix("Value error, ") + words
    if place.startswith("land") or problem["type"] == "value_error":
        # What was given may be a whole section, and in land it may hold a password.
        return f"{place}: {message}." if place else message
    return f"{place}: {message}, not {shown(repr(problem['input']))}." if place else message


def _or_a_word(problem: Any, problems: list[Any]) -> tuple[tuple[int | str, ...], str]:
    """Return where a problem lies, and a word such as auto where that would be accepted, too.

    For a value that may be either, pydantic names the type that it tried as if that were a key.
    """
    loc: tuple[int | str, ...] = problem["loc"]
    for other in problems:
        tried = len(other["loc"]) - 1
        if other["type"] == "literal_error" and other["loc"] != loc and other["loc"][:tried] == loc[:tried]:
            return (*loc[:tried], *loc[tried + 1 :]), f", or {other['ctx']['expected']}"
    return loc, ""


def _keys_of(place: tuple[int | str, ...], settings: type[BaseModel]) -> list[str]:
    model: Any = settings
    for part in place:
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            continue  # the name of a table under land.tables, or the number of a join: the model stays the same
        model = next(_models_in(fields[part].annotation), Section)
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a value of a type may hold, e.g. Join for `list[Join] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)
