"""params.yaml, read once and typed: an unknown or missing key is refused with the nearest valid one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lapse.errors import SettingsError
from lapse.tables import SOURCES, nearest, require_columns
from lapse.windows import LATEST, ChurnWindows, parse_day

PARAMS = Path("params.yaml")

Days = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A section of params.yaml: nothing unknown, nothing changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Land(Section):
    """What is not a file and has to be landed under data/raw first."""

    source: Literal["complete_journey"] | None


class SourceTable(Section):
    """One delivered table: where it is, how to read it, which of its columns is which of ours."""

    path: str
    columns: dict[str, str]
    derive: dict[str, str] = {}
    delimiter: Annotated[str, Field(min_length=1, max_length=4)] | None = None
    encoding: str = "utf-8"
    timezone: str = "UTC"
    time_format: str | None = None
    duplicates: Literal["drop", "keep"] = "drop"


class Transactions(SourceTable):
    """The order lines."""

    max_amount: Annotated[float, Field(gt=0)] = 1_000_000.0


class Feedback(SourceTable):
    """The ratings, with the scale that they were given on."""

    scale_min: float
    scale_max: float


class Customers(SourceTable):
    """The customers, with the attributes to keep beside our own columns."""

    attributes: list[str] = []


class Sources(Section):
    """What the delivery consists of. Only transactions are needed."""

    folder: str
    until: str | None
    earliest: str
    max_reject_share: Share
    transactions: Transactions
    events: SourceTable | None
    feedback: Feedback | None
    customers: Customers | None

    @model_validator(mode="after")
    def _columns_are_known(self) -> Sources:
        for name, table in SOURCES.items():
            source: SourceTable | None = getattr(self, name)
            if source is not None:
                require_columns(table, [*source.columns, *source.derive])
        return self

    @property
    def tables(self) -> dict[str, SourceTable]:
        """The tables that the delivery has, by name."""
        return {name: source for name in SOURCES if (source := getattr(self, name)) is not None}


class Churn(Section):
    """What churn means here."""

    active_days: Days
    lead_days: Annotated[int, Field(ge=0)]
    horizon_days: Days

    @property
    def windows(self) -> ChurnWindows:
        """The same as the time contract has it."""
        return ChurnWindows(self.active_days, self.horizon_days, self.lead_days)


class Snapshots(Section):
    """At which cutoffs customers are looked at."""

    step_days: Days
    max_cutoffs: Positive


class Features(Section):
    """Which windows and responses the features look at."""

    windows: list[Days]
    responses: dict[str, list[str]]

    @model_validator(mode="after")
    def _windows_rise(self) -> Features:
        if not self.windows or sorted(set(self.windows)) != self.windows:
            raise ValueError("windows must be different lengths in days, the shortest first")
        for name, pair in self.responses.items():
            if len(pair) != 2:
                raise ValueError(f"responses.{name} must be two event types: [the response, what it responds to]")
        return self


class Train(Section):
    """The LightGBM model and its calibration."""

    seed: int
    calibrate_cutoffs: Positive
    trees: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    leaves: Annotated[int, Field(gt=1)]
    min_leaf_rows: Positive
    feature_share: Annotated[float, Field(gt=0, le=1)]
    l2: Annotated[float, Field(ge=0)]


class Evaluate(Section):
    """How the judged model is measured."""

    bootstrap_rounds: Positive
    experiment: str
    registered_model: str


class Retention(Section):
    """The customer retention rate."""

    active_days: Days


class Score(Section):
    """Who is scored when, and what counts as high."""

    as_of: str
    high_risk: Share
    medium_risk: Share

    @model_validator(mode="after")
    def _bands_are_ordered(self) -> Score:
        if self.medium_risk >= self.high_risk:
            raise ValueError("medium_risk must be below high_risk")
        return self


class Lists(Section):
    """What marketing is handed."""

    min_risk: Share
    max_customers: Positive


class Settings(Section):
    """All of params.yaml."""

    business_timezone: str
    land: Land
    sources: Sources
    churn: Churn
    snapshots: Snapshots
    features: Features
    train: Train
    evaluate: Evaluate
    retention: Retention
    score: Score
    lists: Lists

    @model_validator(mode="after")
    def _names_of_times_are_right(self) -> Settings:
        zones = {"business_timezone": self.business_timezone}
        zones |= {f"sources.{name}.timezone": source.timezone for name, source in self.sources.tables.items()}
        for name, zone in zones.items():
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise SettingsError(f"{name}: {zone!r} is no time zone. Use an IANA name, like Europe/Berlin.") from None
        parse_day(self.sources.earliest, "sources.earliest")
        if self.sources.until is not None:
            parse_day(self.sources.until, "sources.until")
        if self.score.as_of != LATEST:
            parse_day(self.score.as_of, "score.as_of")
        return self


def load_settings(path: Path = PARAMS) -> Settings:
    """The path of a params.yaml in, its typed settings out; SettingsError names the key and what to do."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not path.exists():
        raise SettingsError(f"{path} is not there. Run lapse in the folder that holds params.yaml.")
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise SettingsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    if not isinstance(content, Mapping):
        raise SettingsError(f"{path} holds no settings: it must be a mapping of sections.")
    _refuse_bare_dates(content, path, "")
    return parse_settings(content, str(path))


def parse_settings(content: Mapping[str, Any], origin: str = "params") -> Settings:
    """Plain nested values in, typed settings out; SettingsError as `load_settings`."""
    try:
        return Settings.model_validate(dict(content))
    except ValidationError as error:
        raise SettingsError(f"{origin}: {_first_problem(error)}") from None


def _refuse_bare_dates(content: object, path: Path, name: str) -> None:
    if isinstance(content, date):
        raise SettingsError(f'{path}: {name} is a bare date. Put it in quotes: "{content}".')
    if isinstance(content, Mapping):
        for key, value in content.items():
            _refuse_bare_dates(value, path, f"{name}.{key}".lstrip("."))


def _first_problem(error: ValidationError) -> str:
    # A misspelled key is both unknown and missing: the misspelling is the one to show.
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {place!r}. {nearest(str(problem['loc'][-1]), _keys_of(problem['loc'][:-1]))}"
    if problem["type"] == "missing":
        return f"the key {place!r} is missing. Add it; params.yaml of the repository shows every key with a comment."
    return f"{place}: {problem['msg']}, not {problem['input']!r}." if place else problem["msg"]


def _keys_of(place: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in place:
        annotation = model.model_fields[part].annotation if part in getattr(model, "model_fields", {}) else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), Section)
    return list(model.model_fields)
