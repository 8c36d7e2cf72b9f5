"""What a feature is: one small function, with its dictionary entry standing beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from typing import Any, Literal

import ibis.expr.types as ir

from lapse.errors import DataError, sample_keys
from lapse.history.contents import Contents

Risk = Literal["higher", "lower", "either"]
Over = Literal["window", "windows", "event_type", "response"]


# A mapped URL or free text would make thousands of columns.
MOST_EVENT_TYPES = 50


def slug(name: str) -> str:
    """A delivered name in, what stands for it in column names out: lower-case letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


@dataclass(frozen=True)
class Inputs:
    """What features may be built from: the windows in days, and what the delivery holds."""

    windows: tuple[int, ...]
    given: frozenset[str]
    """Columns of transactions that the delivery has, and the names of the other tables it has."""
    event_types: tuple[str, ...] = ()
    responses: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name of a response share -> (the response, what it responds to)."""

    @classmethod
    def of(cls, contents: Contents, windows: Sequence[int], responses: Mapping[str, Sequence[str]]) -> Inputs:
        """What a delivery holds and section features of params in, the inputs out; responses need both event types."""
        types = set(contents.event_types)
        if len(types) > MOST_EVENT_TYPES or len({slug(one) for one in types}) < len(types) or not all(map(slug, types)):
            raise DataError(f"features: the events have {len(types)} types, e.g. {sample_keys(sorted(types))}. There may "
                            f"be {MOST_EVENT_TYPES}, told apart by letters and digits. Derive a coarser one.")  # fmt: skip
        known = {name: (pair[0], pair[1]) for name, pair in responses.items() if set(pair) <= types}
        return cls(tuple(windows), contents.given, tuple(contents.event_types), known)

    def choices(self, over: Over) -> list[dict[str, Any]]:
        """One thing that a feature is repeated over in, the arguments of each repetition out."""
        if over == "window":
            return [{"window": days} for days in self.windows]
        if over == "windows":
            return [{"short": short, "long": long} for short, long in pairwise(self.windows)]
        if over == "event_type":
            return [{"event_type": event_type, "event": slug(event_type)} for event_type in self.event_types]
        return [{"response": name, "answer": a, "call": c} for name, (a, c) in self.responses.items()]


@dataclass(frozen=True)
class Entry:
    """The dictionary entry of a feature, as it is written beside the function; {names} are filled in per repetition."""

    meaning: str
    unit: str
    nulls: str
    risk: Risk
    cause: str
    """Features with the same cause say the same thing to a person: a list names each cause once."""
    reason: str = ""
    """The cause in words with the customer's own numbers, a format text over the customer's features."""
    neutral: float | None = None
    """The value at which the feature says nothing; None: the median of the customers scored beside."""
    absent: float | None = None
    """The value of a customer without any row to look at: 0 for counts, null for everything else."""
    needs: tuple[str, ...] = ()
    relative_to_peers: bool = False


@dataclass(frozen=True)
class Feature:
    """One column of the features table: its name, its dictionary entry, how it is computed."""

    name: str
    family: str
    entry: Entry
    kind: Literal["aggregate", "derived"]
    compute: Callable[[ir.Table], ir.Value]
    """aggregate: the family's day rows of one cutoff in, one value per customer out. derived: the row of
    already aggregated features in, a value out."""
    days_needed: int = 0
    """How many days of log the feature looks back on; null where the log is younger."""


class Family:
    """A file's worth of features over one activity table."""

    def __init__(self, name: str, table: str, signal: str, needs: tuple[str, ...] = ()) -> None:
        self.name, self.table, self.signal, self.needs = name, table, signal, needs
        self._makers: list[Callable[[Inputs], Iterator[Feature]]] = []

    def missing(self, inputs: Inputs) -> list[str]:
        """What the delivery lacks for this family to be built at all."""
        return [need for need in self.needs if need not in inputs.given]

    def features(self, inputs: Inputs) -> list[Feature]:
        """What the delivery holds in, the family's features out, in the order in which they are written."""
        if self.missing(inputs):
            return []
        return [feature for maker in self._makers for feature in maker(inputs)]

    def aggregate(self, entry: Entry, over: Sequence[Over] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: the function takes the day rows (`age` = days from the row's day to the cutoff)."""
        return self._register("aggregate", entry, over)

    def derived(self, entry: Entry, over: Sequence[Over] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: the function takes the row of aggregated features of a customer."""
        return self._register("derived", entry, over)

    def _register(
        self, kind: Literal["aggregate", "derived"], entry: Entry, over: Sequence[Over]
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def remember(function: Callable[..., Any]) -> Callable[..., Any]:
            def make(inputs: Inputs) -> Iterator[Feature]:
                if any(need not in inputs.given for need in entry.needs):
                    return
                for combination in product(*(inputs.choices(one) for one in over)):
                    arguments = {key: value for part in combination for key, value in part.items()}
                    yield Feature(
                        name=_name(function.__name__, arguments),
                        family=self.name,
                        entry=_filled(entry, arguments),
                        kind=kind,
                        compute=lambda table, arguments=arguments: function(  # type: ignore[misc]
                            table, **{key: value for key, value in arguments.items() if key != "event"}
                        ),
                        days_needed=arguments.get("long", arguments.get("window", 0)),
                    )

            self._makers.append(make)
            return function

        return remember


def _name(function: str, arguments: Mapping[str, Any]) -> str:
    """order_count over window 30 -> order_count_30d; event_count over visit and 30 -> event_count_visit_30d."""
    parts = [function.rstrip("_")]
    parts += [str(arguments[key]) for key in ("event", "response") if key in arguments]
    parts += [f"{arguments[key]}d" for key in ("window", "short", "long") if key in arguments]
    return "_".join(parts)


def _filled(entry: Entry, arguments: Mapping[str, Any]) -> Entry:
    """{window} and its like become numbers; braces that are not arguments stay, for the reason's own numbers."""

    def fill(text: str) -> str:
        for key, value in arguments.items():
            text = text.replace("{" + key + "}", str(value))
        return text

    def worded(text: str) -> str:
        # A delivered name may hold braces; in a format text they are doubled.
        for key in ("event_type", "answer", "call"):
            if key in arguments:
                text = text.replace("{" + key + "}", str(arguments[key]).replace("{", "{{").replace("}", "}}"))
        return fill(text)

    return replace(
        entry, meaning=fill(entry.meaning), nulls=fill(entry.nulls), cause=fill(entry.cause), reason=worded(entry.reason)
    )


def share(part: Any, whole: Any) -> Any:
    """Two numbers in, part / whole out, null where the whole is 0: the one division that features use."""
    return part.cast("float64") / whole.cast("float64").nullif(0)
