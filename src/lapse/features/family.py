"""What a feature is: one small function, with its dictionary entry standing beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from inspect import signature
from itertools import pairwise, product
from typing import Any, Literal

import ibis.expr.types as ir

from lapse.core.errors import DataError, sample_keys
from lapse.core.settings import Features
from lapse.core.tables.sources import TRANSACTIONS
from lapse.core.windows import ChurnWindows, feature_windows
from lapse.features.messages import Message, filled, message_of, worded
from lapse.features.names import slug, slugs, turns_away
from lapse.history.profile import DataProfile

Risk = Literal["higher", "lower", "either"]
CoreWindows = Literal["none", "every second", "every"]
Over = Literal["window", "windows", "event_type", "response", "service", "open_case", "attribute", "level", "plan"]

MOST_EVENT_TYPES = 50  # a mapped URL or free text would make thousands of columns
WINDOWS = ("window", "short", "long")
CORE_WINDOWS: Mapping[CoreWindows, Callable[[tuple[int, ...]], tuple[int, ...]]] = {
    "none": lambda _: (), "every second": lambda windows: windows[::-2], "every": lambda windows: windows,
}  # fmt: skip
"""The windows in which a feature is in the core, of all windows, the shortest first."""
ORDERS, OF_ORDERS = "orders", ("purchase_days", "category_days")
ORDER_COLUMNS = frozenset(TRANSACTIONS.names)


@dataclass(frozen=True)
class OwnFeatures:
    """A workspace's own families, and what identifies them."""

    families: tuple[Family, ...]
    digest: str


@dataclass(frozen=True)
class Inputs:
    """What features may be built from: the windows in days, and what the delivery holds."""

    windows: tuple[int, ...]
    given: frozenset[str]
    """Columns of transactions that the delivery has, and the names of the other tables it has."""
    event_types: tuple[str, ...] = ()
    responses: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name of a response share -> (the response, what it responds to)."""
    horizon_days: int = 30
    """Length of the outcome window: hazards are asked over it, and the season of a year ago."""
    service: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Kind of trouble, e.g. complaint -> the event types that are one."""
    open_cases: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name of a case, e.g. ticket -> (the event that opens one, the event that closes it)."""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Attribute of the customers table -> its levels; none for a number."""
    plans: tuple[str, ...] = ()
    """The most frequent plans of the subscriptions."""
    feature_set: Literal["core", "all"] = "all"
    """`features.set`: whether all features are computed and learned from, or the core."""
    own: tuple[Family, ...] = field(default=(), compare=False)
    """The workspace's own families."""
    own_digest: str = ""
    """What identifies them: a model is only used with the very features that it was trained on."""

    @classmethod
    def of(cls, profile: DataProfile, churn: ChurnWindows, section: Features, custom: OwnFeatures | None = None) -> Inputs:
        """Return the inputs for a delivery, the churn windows and section features of params.

        Windows `auto` follow the customers' own rhythm. Settings that name an event type which the delivery lacks are
        left out.
        """
        types = set(profile.event_types)
        if len(types) > MOST_EVENT_TYPES or len({slug(one) for one in types}) < len(types) or not all(map(slug, types)):
            raise DataError(f"features: the events have {len(types)} types, e.g. {sample_keys(sorted(types))}. There may "
                            f"be {MOST_EVENT_TYPES}, which differ in letters or digits. Derive a coarser one.")  # fmt: skip
        windows = section.windows
        lengths = feature_windows(profile.median_gap_days, profile.period) if windows == "auto" else tuple(windows)
        services = {name: tuple(sorted(types & set(kinds))) for name, kinds in section.service.items()}
        return cls(
            windows=lengths,
            given=profile.given,
            event_types=tuple(profile.event_types),
            responses={name: (a, b) for name, (a, b) in section.responses.items() if {a, b} <= types},
            horizon_days=churn.horizon_days,
            service={name: kinds for name, kinds in services.items() if kinds},
            open_cases={name: (a, b) for name, (a, b) in section.open_cases.items() if {a, b} <= types},
            attributes={name: tuple(levels) for name, levels in profile.attributes.items()},
            plans=tuple(profile.plans),
            feature_set=section.set,
            own=custom.families if custom else (),
            own_digest=custom.digest if custom else "",
        )

    def has(self, need: str) -> bool:
        """Return whether the delivery has what a feature needs; ORDERS stands for any column of transactions."""
        return bool(ORDER_COLUMNS & self.given) if need == ORDERS else need in self.given

    def choices(self, over: Over) -> list[dict[str, Any]]:
        """Return the arguments of each repetition of a feature over one thing."""
        columns = slugs(self.attributes)
        found: dict[Over, list[dict[str, Any]]] = {
            "window": [{"window": days} for days in self.windows],
            "windows": [{"short": short, "long": long} for short, long in pairwise(self.windows)],
            "event_type": [
                {"event_type": event_type, "event": slug(event_type), "about": self._about(event_type)}
                for event_type in self.event_types
            ],
            "response": [{"response": name, "reply": r, "outreach": o} for name, (r, o) in self.responses.items()],
            "service": [{"service": name, "types": types} for name, types in self.service.items()],
            "open_case": [{"open_case": name, "opens": a, "closes": c} for name, (a, c) in self.open_cases.items()],
            "attribute": [
                {"attribute": columns[name], "column": name} for name, levels in self.attributes.items() if not levels
            ],
            "level": [
                {"attribute": columns[name], "column": name, "level": level, "is": short}
                for name, levels in self.attributes.items()
                for level, short in slugs(levels).items()
            ],
            "plan": [{"level": level, "is": short} for level, short in slugs(self.plans).items()],
        }
        return found[over]

    def _about(self, event_type: str) -> str:
        """Return the cause that the number of an event type speaks of: not all events are the customer's own activity."""
        troubles = {one for kinds in self.service.values() for one in kinds}
        if event_type in troubles.union(*self.open_cases.values()):
            return "trouble"
        responses, outreach = ({pair[side] for pair in self.responses.values()} for side in (0, 1))
        if event_type in outreach or turns_away(event_type):
            return "contacted"
        return "responds_less" if event_type in responses else "less_active"

    @property
    def not_engagement(self) -> list[str]:
        """The event types that are no engagement: what the business sends, and requests that it send no more."""
        return sorted({one for _, one in self.responses.values()} | set(filter(turns_away, self.event_types)))

    def to_json(self) -> dict[str, Any]:
        """Return the inputs as plain values for the bundle, custom features as their digest."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "own"}
        # Left out where older versions did not know them, so that their bundles keep their hash.
        absent = [name for name, value in (("plans", ()), ("feature_set", "all")) if plain[name] == value]
        plain = {name: value for name, value in plain.items() if name not in absent}
        return {**plain, "given": sorted(self.given)}

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> Inputs:
        """Return the inputs that `to_json` wrote, still without the workspace's own families."""
        pairs = {name: {key: tuple(value) for key, value in spec[name].items()}
                 for name in ("responses", "service", "open_cases", "attributes")}  # fmt: skip
        lists = {"windows": tuple(spec["windows"]), "event_types": tuple(spec["event_types"]),
                 "plans": tuple(spec.get("plans", ()))}  # fmt: skip
        return cls(**{**spec, **pairs, **lists, "given": frozenset(spec["given"])})


@dataclass(frozen=True)
class Entry:
    """The dictionary entry of a feature, as it is written beside the function; {names} are filled in per repetition."""

    meaning: str
    unit: str
    nulls: str
    risk: Risk
    cause: str
    """What it says to a person, one of causes.CAUSES (or a word of your own): a list names each cause once."""
    reason: str = ""
    """The cause in words with the customer's own numbers, a format text over the customer's features; `{others}` is the
    median of the customers scored beside. scoring/reason_wording.py has the formats."""
    protective_reason: str = ""
    """The same where it lowers the risk. A reason that says `{others}` reads both ways and needs none."""
    reference_feature: str = ""
    """The feature that compares with the customer's own past: where it says the same, this one counts for its cause (the
    change, not the level); where it does not, this is normal for them, and no reason."""
    reference_value: float | None = None
    """The value at which the feature says nothing; None: the median of the customers scored beside."""
    default: float | None = None
    """The value of a customer without any row to look at: 0 for counts, null for everything else."""
    enough: tuple[str, int] | None = None
    """A feature and the least value of it (of purchase days, ratings, people) with which this one is said in words."""
    needs: tuple[str, ...] = ()
    relative_to_peers: bool = False
    for_words: bool = False
    """It is only printed in others' words; no model learns from it."""
    core_windows: CoreWindows = "none"
    """Of a feature over windows, those in which it is in the core; every second is counted from the longest."""


@dataclass(frozen=True)
class Feature:
    """One column of the features table: its name, its dictionary entry, how it is computed."""

    name: str
    family: str
    entry: Entry
    kind: Literal["aggregate", "derived"]
    compute: Callable[[ir.Table], ir.Value]
    """aggregate: takes the family's day rows of one cutoff, returns one value per customer. derived: takes the row of
    aggregated features, returns a value."""
    days_needed: int = 0
    """How many days of log the feature looks back on; null where the log is younger. 0: all of it, whatever there is."""
    whole: bool = False
    """It looks at rows beyond them, too."""
    table: str = ""
    """The activity table that it is computed from."""
    window: int | None = None
    """The length in days of the window that it looks at, the shorter one of two; None: of everything."""
    fact: str = ""
    """What it measures, whatever its window: features that differ in the window only say the same."""
    core: bool = True
    """Whether it is in the core: what looks at no window is, and what its entry's `core_windows` says."""
    messages: Mapping[str, Message] = field(default_factory=dict, compare=False)
    """Its texts as they are filled in, in which messages they are said; those of your own are their own messages."""


class Family:
    """A file's worth of features over one activity table.

    `prepare` makes of the day rows and the inputs other rows with `customer_id`, which its aggregates then take.
    """

    def __init__(
        self,
        name: str,
        table: str,
        signal: str,
        needs: tuple[str, ...] = (),
        prepare: Callable[[Any, Inputs], Any] | None = None,
    ) -> None:
        self.name, self.table, self.signal, self.needs, self.prepare = name, table, signal, needs, prepare
        self._makers: list[Callable[[Inputs], Iterator[Feature]]] = []

    def add(self, feature: Feature) -> None:
        """Add a feature that needs no repetition."""
        self._makers.append(lambda _: iter([feature]))

    def missing(self, inputs: Inputs) -> list[str]:
        """Return what the delivery lacks for this family to be built at all."""
        needs = (*((ORDERS,) if self.table in OF_ORDERS else ()), *self.needs)
        return [need for need in needs if not inputs.has(need)]

    def features(self, inputs: Inputs) -> list[Feature]:
        """Return the family's features for a delivery, in the order in which they are written."""
        if self.missing(inputs):
            return []
        return [feature for maker in self._makers for feature in maker(inputs)]

    def aggregate(
        self, entry: Entry, over: Sequence[Over] = (), looks_back: int = 1, days: int = 0, *, whole: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a function of the day rows (`age` = days from the row's day to the cutoff).

        It reaches back over `looks_back` of its windows (2: it compares with the window before) and `days` more; with
        `whole` it also looks at everything before.
        """
        return self._register("aggregate", entry, over, looks_back, days, whole=whole)

    def derived(self, entry: Entry, over: Sequence[Over] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a function of the row of aggregated features of a customer."""
        return self._register("derived", entry, over, 1, 0, whole=False)

    def _register(
        self,
        kind: Literal["aggregate", "derived"],
        entry: Entry,
        over: Sequence[Over],
        looks_back: int,
        days: int,
        *,
        whole: bool,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def remember(function: Callable[..., Any]) -> Callable[..., Any]:
            def make(inputs: Inputs) -> Iterator[Feature]:
                if not all(inputs.has(need) for need in entry.needs):
                    return
                for combination in product(*(inputs.choices(one) for one in over)):
                    arguments = {key: value for one in combination for key, value in one.items()}
                    window = arguments.get("short", arguments.get("window"))
                    yield Feature(
                        name=_name(function.__name__, arguments),
                        family=self.name,
                        entry=_filled(entry, arguments),
                        kind=kind,
                        compute=partial(_called, function, {**arguments, **_common(inputs)}),
                        days_needed=arguments.get("long", arguments.get("window", 0)) * looks_back + days,
                        whole=whole,
                        table=self.table,
                        window=window,
                        fact=_fact(function.__name__, arguments),
                        core=window is None or window in CORE_WINDOWS[entry.core_windows](inputs.windows),
                        messages={
                            worded(text, arguments): message_of(text, arguments)
                            for text in (entry.reason, entry.protective_reason)
                        },
                    )

            self._makers.append(make)
            return function

        return remember


def _common(inputs: Inputs) -> dict[str, Any]:
    """Return the arguments that any feature may ask for."""
    return {"inputs": inputs, "horizon": inputs.horizon_days, "longest": inputs.windows[-1]}


def _called(function: Callable[..., Any], arguments: Mapping[str, Any], table: Any) -> Any:
    """Call a feature's function with those of the arguments that it asks for by name."""
    asked = signature(function).parameters
    return function(table, **{key: value for key, value in arguments.items() if key in asked})


def _name(function: str, arguments: Mapping[str, Any]) -> str:
    """order_count over window 30 -> order_count_30d; event_count over visit and 30 -> event_count_visit_30d."""
    return "_".join([_fact(function, arguments), *(f"{arguments[key]}d" for key in WINDOWS if key in arguments)])


def _fact(function: str, arguments: Mapping[str, Any]) -> str:
    names = ("event", "response", "service", "open_case", "attribute", "is")
    return "_".join([function.rstrip("_"), *(str(arguments[key]) for key in names if key in arguments)])


def _filled(entry: Entry, arguments: Mapping[str, Any]) -> Entry:
    """{window} and its like become numbers; braces that are not arguments stay, for the reason's own numbers."""
    meaning, nulls, cause, reference = (
        filled(text, arguments) for text in (entry.meaning, entry.nulls, entry.cause, entry.reference_feature)
    )
    own = replace(
        entry, meaning=meaning, nulls=nulls, cause=cause, reference_feature=reference,
        reason=worded(entry.reason, arguments), protective_reason=worded(entry.protective_reason, arguments),
    )  # fmt: skip
    if arguments.get("about") in ("trouble", "contacted"):
        # Fewer complaints, or fewer mails sent, are not a sign that a customer turns away: neither a direction nor words.
        return replace(own, risk="either", reason="", protective_reason="")
    return own


def share(part: Any, whole: Any) -> Any:
    """Return part / whole, null where the whole is 0: the one division that features use."""
    return part.cast("float64") / whole.cast("float64").nullif(0)
