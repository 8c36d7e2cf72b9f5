"""params.yaml, read once and typed: an unknown or missing key is refused with the nearest valid one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, model_validator

from lapse.core.churn_meaning import MAX_COMEBACK
from lapse.core.distribution import LARGE
from lapse.core.errors import SettingsError
from lapse.core.language import Language
from lapse.core.list_settings import Lists, require_rules
from lapse.core.retention_report_settings import RetentionReport
from lapse.core.retention_settings import Retention
from lapse.core.settings_problems import first_problem, shown
from lapse.core.source_settings import MOST_DAYS, Days, Land, Name, Section, Share, Sources
from lapse.core.tables.contract import nearest
from lapse.core.why_settings import Why
from lapse.core.windows import LATEST, MIN_ORDERS, ChurnWindows, parse_day

PARAMS = Path("params.yaml")

DaysOrNone = Annotated[int, Field(ge=0, le=MOST_DAYS)]
Positive = Annotated[int, Field(gt=0, le=2**31 - 1)]
Auto = Literal["auto"]

MOST_VALUES = 20_000
"""More values than this in params.yaml come from aliases that multiply, not from settings."""
LARGEST_BYTES = 1_000_000
DEEPEST = 20


class Churn(Section):
    """What churn means."""

    mode: Literal["lapse", "subscription", "decline"]
    active_days: Days
    lead_days: DaysOrNone
    horizon_days: Days
    renewal_days: DaysOrNone
    reasons: list[str] | None
    notice: Literal["leaving", "at_risk"] = "leaving"
    max_comeback: Share = MAX_COMEBACK
    of: Literal["purchase_days", "spend"] = "purchase_days"
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_orders: Positive = MIN_ORDERS

    @property
    def windows(self) -> ChurnWindows:
        """The definition of churn as the time contract writes it."""
        return ChurnWindows(
            active_days=self.active_days, horizon_days=self.horizon_days, lead_days=self.lead_days, mode=self.mode,
            renewal_days=self.renewal_days, notice=self.notice, of=self.of, share=self.share,
            min_orders=self.min_orders if self.mode == "decline" else 1,
        )  # fmt: skip

    @model_validator(mode="after")
    def _only_subscriptions_are_renewed(self) -> Churn:
        if self.mode != "subscription" and (self.renewal_days or self.reasons is not None):
            raise ValueError("renewal_days and reasons belong to mode: subscription; set them to 0 and null")
        if self.mode != "subscription" and self.notice != "leaving":
            raise ValueError("notice belongs to mode: subscription; without one nobody gives notice. Leave it out")
        return self


class Snapshots(Section):
    """The cutoffs at which customers are looked at."""

    step_days: Days
    max_cutoffs: Annotated[int, Field(gt=0, le=10_000)]
    anchor: str | None = None

    @property
    def anchor_date(self) -> date | None:
        """The anchor as a day."""
        return None if self.anchor is None else parse_day(self.anchor, "snapshots.anchor")


class SqlFeature(Section):
    """A feature of your own, as an SQL aggregate over the days of one activity table."""

    table: Literal["purchase_days", "category_days", "event_days", "feedback_days", "subscription_days"]
    expression: Annotated[str, Field(min_length=1)]
    meaning: Annotated[str, Field(min_length=1)]
    unit: Annotated[str, Field(min_length=1)]
    risk: Literal["higher", "lower", "either"]
    reason: str
    looks_back: DaysOrNone


class Features(Section):
    """Which features there are, the windows, responses and kinds of trouble they look at, and custom features in SQL."""

    set: Literal["core", "all"] = "core"
    windows: list[Days] | Literal["auto"]
    responses: dict[Name, Annotated[list[str], Field(min_length=2, max_length=2)]]
    service: dict[Name, list[str]] = Field(default_factory=dict)
    open_cases: dict[Name, Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(default_factory=dict)
    sql: dict[Name, SqlFeature] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _windows_rise(self) -> Features:
        if self.windows != "auto" and (not self.windows or sorted(set(self.windows)) != self.windows):
            raise ValueError("windows must be different lengths in days, the shortest first, or auto")
        return self


class Train(Section):
    """The training procedure: what is fitted, on how much, and how it is checked inside the known cutoffs."""

    seed: int
    calibrate_cutoffs: Positive
    most_rows: Positive
    tuning_trials: Annotated[int, Field(ge=0)]
    trees: Positive | None
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    leaves: Annotated[int, Field(gt=1)] | None
    min_leaf_rows: Positive | None
    feature_share: Annotated[float, Field(gt=0, le=1)]
    l2: Annotated[float, Field(ge=0)]


class Evaluate(Section):
    """How the training procedure is measured."""

    origins: Positive
    bootstrap_rounds: Positive
    experiment: str
    registered_model: str


class Promote(Section):
    """What a model must show to become the champion; command promote decides by it, stage evaluate grades by it."""

    max_ece: Share
    min_slope: Annotated[float, Field(gt=0, le=1)]
    max_slope: Annotated[float, Field(ge=1)]
    max_auroc_loss: Share
    max_level: Annotated[float, Field(ge=0)] = 0.15
    """In log-odds."""
    min_lift_share: Share = 0.1
    min_brier_skill: Annotated[float, Field(ge=0, le=1)] = 0.01


class Score(Section):
    """The day of scoring, which risks count as high and medium, and how old the tables may be."""

    as_of: str
    high_risk: Share | Auto
    medium_risk: Share | Auto
    max_log_age: dict[str, DaysOrNone] = Field(default_factory=dict)
    """Table -> the most days that its newest row may be old; without: as many as the table's own past allows."""
    when_stale: Literal["refuse", "warn"] = "refuse"
    max_drift: Annotated[float, Field(gt=0)] = LARGE
    """The largest population stability index since the last run."""
    max_change: Annotated[float, Field(gt=0)] = 0.3
    """The largest change of the number of customers scored since the last run, as a share."""
    when_drifted: Literal["refuse", "warn"] = "refuse"
    keep_days: Days | None = 400
    """Runs of days that lie further before the newest are removed from the archive; None: none are."""

    @model_validator(mode="after")
    def _bands_are_ordered(self) -> Score:
        high, medium = self.high_risk, self.medium_risk
        if high != "auto" and medium != "auto" and medium >= high:
            raise ValueError("medium_risk must be below high_risk")
        return self


class Consent(Section):
    """What takes a customer off every list, besides the column consent of the customers."""

    withdrawn_by: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    """Event types by which a customer asks not to be contacted any more."""

    @property
    def read(self) -> list[str]:
        """The tables without which it is not known who may be contacted."""
        return ["events"] if self.withdrawn_by else []


class Value(Section):
    """What a kept customer brings, and what contacting one costs."""

    value_days: Days
    margin_share: Share
    contact_cost: Annotated[float, Field(ge=0)] | Auto
    incentive_cost: Annotated[float, Field(ge=0)] | Auto
    acceptance_rate: Share
    acceptance_weight: Annotated[float, Field(gt=0)]
    stayer_acceptance: Share
    budget: Annotated[float, Field(ge=0)] | None


class Settings(Section):
    """All of params.yaml."""

    business_timezone: str
    language: Language = "en"
    """Of reasons, lists and what is said of them; the page begins in it."""
    land: Land
    sources: Sources
    churn: Churn
    snapshots: Snapshots
    features: Features
    train: Train
    evaluate: Evaluate
    promote: Promote
    value: Value
    retention: Retention
    score: Score
    lists: Lists
    consent: Consent = Consent()
    retention_report: RetentionReport = RetentionReport()
    why: Why = Why()

    @model_validator(mode="after")
    def _names_of_times_are_right(self) -> Settings:
        zones = {"business_timezone": self.business_timezone}
        zones |= {f"sources.{name}.timezone": file.timezone for name, files in self.sources.tables.items() for file in files}
        for name, zone in zones.items():
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise SettingsError(
                    f"{name}: {zone!r} is not a time zone. Use an IANA name such as Europe/Berlin."
                ) from None
        parse_day(self.sources.earliest, "sources.earliest")
        if self.sources.until is not None:
            parse_day(self.sources.until, "sources.until")
        _ = self.snapshots.anchor_date
        if self.churn.mode == "subscription" and self.sources.subscriptions is None:
            raise SettingsError(
                "churn.mode is subscription, but sources.subscriptions is null. Map the subscriptions there."
            )
        if self.consent.withdrawn_by and self.sources.events is None:
            raise SettingsError(
                "consent.withdrawn_by names event types, but sources.events is null. Map them, or empty the list."
            )
        if self.lists.delivered and self.sources.customers is None:
            which = "columns" if self.lists.columns else "contact" if self.lists.contact.named else "birthday"
            raise SettingsError(
                f"lists.{which} names columns of the customers, but sources.customers is null. Map it, or empty the list."
            )
        require_rules(self.lists, self.sources.attributes)
        for name in sorted(set(self.score.max_log_age) - set(self.sources.tables)):
            raise SettingsError(f"score.max_log_age: no table {name!r} is mapped. {nearest(name, self.sources.tables)}")
        if self.sources.transactions is None and self.churn.mode != "subscription":
            raise SettingsError(
                f"sources.transactions is null, and churn.mode is {self.churn.mode}. Map the orders; or, for contracts "
                "without orders, map sources.subscriptions and set churn.mode: subscription."
            )
        if self.score.as_of != LATEST:
            parse_day(self.score.as_of, "score.as_of")
        return self


def load_settings(path: Path = PARAMS) -> Settings:
    """Read and check a params.yaml; SettingsError names the key and what to do."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not path.exists():
        raise SettingsError(f"{path} is not there. Run lapse in the folder that holds params.yaml.")
    if not path.is_file():
        raise SettingsError(f"{path} is not a file. Run lapse in the folder that holds params.yaml.")
    if (size := path.stat().st_size) > LARGEST_BYTES:
        raise SettingsError(f"{path} has {size:,} bytes, and settings have a few thousand. Check that it is the right file.")
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8-sig"))
    except YAMLError as error:
        where = shown(" ".join(str(error).split()), 400)
        raise SettingsError(f"{path} is not valid YAML: {where}. An expression with commas, colons, quotes or # stands "
                            "in double quotes.") from None  # fmt: skip
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {shown(str(error))}.") from None
    except RecursionError:
        raise SettingsError(f"{path} is nested too deeply. Write it as the params.yaml of the repository.") from None
    if not isinstance(content, Mapping):
        raise SettingsError(f"{path} holds no settings: it must be a mapping of sections.")
    _refuse_odd_values(content, path)
    return parse_settings(content, str(path))


def parse_settings(content: Mapping[str, Any], origin: str = "params") -> Settings:
    """Return the typed settings of plain nested values; SettingsError as `load_settings`."""
    try:
        return Settings.model_validate(dict(content))
    except ValidationError as error:
        raise SettingsError(f"{origin}: {first_problem(error, Settings)}") from None


def _refuse_odd_values(content: object, path: Path) -> None:
    """Raise SettingsError for a bare date, and for aliases that multiply or hold themselves."""
    waiting: list[tuple[object, str, int]] = [(content, "", 0)]
    seen = 0
    while waiting:
        value, name, depth = waiting.pop()
        seen += 1
        if seen > MOST_VALUES or depth > DEEPEST:
            raise SettingsError(f"{path} is nested too deeply or holds too many values. Write them out without & and *.")
        if isinstance(value, date):
            raise SettingsError(f'{path}: {name} is a bare date. Put it in quotes: "{value}".')
        if isinstance(value, Mapping):
            waiting += [(inner, f"{name}.{key}".lstrip("."), depth + 1) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(inner, f"{name}.{place}", depth + 1) for place, inner in enumerate(value)]
