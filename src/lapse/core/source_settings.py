"""What params.yaml says about the delivery: which tables there are, where, and how they are read (land, sources)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from lapse.core.tables.contract import Table, nearest
from lapse.core.tables.sources import SOURCES, require_columns

Share = Annotated[float, Field(ge=0, le=1)]
MOST_DAYS = 36_500
"""A hundred years: longer than any log, and far from where calendars end."""
Days = Annotated[int, Field(gt=0, le=MOST_DAYS)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
"""What becomes part of a column's name."""
Whole = Annotated[int, Field(gt=0)]
Rating = Annotated[float, Field(gt=-1e9, lt=1e9)]
IdRule = Literal["unicode", "invisible", "case", "email", "decimal", "zeros"]
ID_RULES: tuple[IdRule, ...] = get_args(IdRule)
"""In the order in which they are applied; what each one joins stands in history/reading/identity.py."""

OBJECT_SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# `scheme://user:password@host`, with whatever odd characters an unquoted password may hold.
PASSWORD = re.compile(r"(://[^/@:\s]*:)([^\s]+)(@)")
# A presigned address is a password, too: whoever has its signature may read the object.
PASSWORD_OPTION = re.compile(r"(?i)([?&;](?:[^=&\s]*(?:pass|pwd|secret|token|key|signature)[^=&\s]*|sig|sas)=)([^&;\s]+)")


def literal_password(url: str) -> bool:
    """Return whether a URL holds a password that is not written as ${NAME}."""
    found = [match.group(2) for pattern in (PASSWORD, PASSWORD_OPTION) for match in pattern.finditer(url)]
    return any(not PLACEHOLDER.fullmatch(password) for password in found)


def folded(word: str) -> str:
    """Return a word of a flag as it is compared: without the spaces around it, in lower case."""
    return word.strip().lower()


def without_passwords(text: str) -> str:
    """Return a text with *** in place of every password that a URL in it holds."""
    return PASSWORD_OPTION.sub(r"\1***", PASSWORD.sub(r"\1***\3", text))


class Section(BaseModel):
    """A section of params.yaml: nothing unknown, nothing changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LandTable(Section):
    """One table that is not a file yet: a table or query of a database, or an object in an object store."""

    url: str
    table: str | None = None
    query: str | None = None
    changed_column: str | None = None
    fingerprint: str | None = None

    @model_validator(mode="after")
    def _url_fits(self) -> LandTable:
        scheme = self.url.split("://")[0].split("+")[0]
        if "://" not in self.url and not PLACEHOLDER.fullmatch(self.url):
            raise ValueError("url must be scheme://…, like postgresql://${DB_USER}:${DB_PASSWORD}@host/database or s3://…")
        if literal_password(self.url):
            raise ValueError("the url holds a password. Put it into the environment and write ${NAME} in its place")
        wanted = [name for name in ("table", "query") if getattr(self, name) is not None]
        if scheme in OBJECT_SCHEMES and (wanted or self.changed_column or self.fingerprint):
            raise ValueError(f"{scheme}:// names one object: leave out table, query, changed_column and fingerprint")
        if scheme not in OBJECT_SCHEMES and len(wanted) != 1:
            raise ValueError("a database needs exactly one of table and query")
        return self


class Land(Section):
    """What is not a file and has to be landed under data/raw first."""

    source: Literal["complete_journey"] | None
    tables: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")], LandTable] = {}


WHITESPACE = "whitespace"
"""As a delimiter: cells are divided by any number of spaces and tabs."""


class Reading(Section):
    """Where a file is and how to read it; what is left out is found out by looking at the file."""

    path: Annotated[str, Field(min_length=1)]
    delimiter: Annotated[str, Field(min_length=1)] | None = None
    widths: Annotated[list[Whole], Field(min_length=1)] | None = None
    """The columns' widths in characters, of a text whose columns stand below one another."""
    encoding: str | None = None
    header_row: Whole | None = None
    """The line of the text, or the row of the sheet, that holds the columns' names; what stands above is no data."""
    names: Annotated[list[str], Field(min_length=1)] | None = None
    """The columns' names of a text or sheet without a header; with `header_row`, in place of those that stand there."""
    sheet: str | None = None

    @model_validator(mode="after")
    def _columns_can_be_told_apart(self) -> Reading:
        if self.delimiter is not None and set(self.delimiter) & set('"\n\r\0'):
            raise ValueError("delimiter must not hold a quote, a line end or a NUL")
        if self.delimiter is not None and len(self.delimiter) > 4 and self.delimiter != WHITESPACE:
            raise ValueError(f"delimiter must have at most 4 characters, or be {WHITESPACE}")
        if self.delimiter is not None and self.widths is not None:
            raise ValueError("delimiter and widths exclude each other: leave one of them out")
        if self.widths is not None and self.names is not None and len(self.widths) != len(self.names):
            raise ValueError(f"there are {len(self.widths)} widths and {len(self.names)} names")
        return self


class Join(Reading):
    """A further file, LEFT JOINed to the rows so far on the columns that both have."""

    on: Annotated[list[str], Field(min_length=1)]


class Words(Section):
    """The words that a delivered flag uses, besides those of history/validation/flags.py; their case is ignored."""

    yes: list[str] = []
    no: list[str] = []

    @field_validator("yes", "no", mode="before")
    @classmethod
    def _words_are_texts(cls, words: object) -> object:
        if isinstance(words, list) and not all(isinstance(word, str) for word in words):
            raise ValueError('write every word in quotes, like ["X", "1.0"]')
        return words

    @model_validator(mode="after")
    def _words_differ(self) -> Words:
        both = sorted({folded(word) for word in self.yes} & {folded(word) for word in self.no})
        if both:
            raise ValueError(f"{both[0]!r} stands under yes and under no. Take one of them away")
        return self


class SourceSettings(Reading):
    """One delivered file of a table: where it is, how to read it, which of its columns is which of ours."""

    columns: dict[str, str]
    derive: dict[str, str] = {}
    where: Annotated[str, Field(min_length=1)] | None = None
    """An SQL condition over their columns, as for `derive`: rows for which it is not true are left out and counted."""
    fill_down: list[str] = []
    """Their columns that are filled on the first line of an order only."""
    fill_down_by: str | None = None
    """Their column that says which lines belong together; None: the one that order_id is mapped to."""
    joins: list[Join] = []
    decimal: Literal[".", ","] | None = None
    """The decimal sign; None: found out from each column, which is refused where it could be either."""
    flags: dict[str, Words] = {}
    """Flag column of ours -> the words that the delivery uses for yes and no."""
    timezone: str = "UTC"
    time_format: str | None = None
    """None: found out from each column, which is refused where day and month could change places."""
    duplicates: Literal["drop", "keep"] = "drop"


class Transactions(SourceSettings):
    """The order lines."""

    max_amount: Annotated[float, Field(gt=0, lt=1e14)] = 1_000_000.0
    bookings: bool | Literal["auto"] = "auto"
    """Whether lines after today are bookings, which keep their customers off lists: auto refuses many of them, true takes
    any number, false rejects each."""

    @property
    def is_priced_by_unit(self) -> bool:
        """Whether a line's amount is its quantity times its unit price."""
        return "unit_price" in {*self.columns, *self.derive}

    @model_validator(mode="after")
    def _amount_is_known_once(self) -> Transactions:
        mapped = {*self.columns, *self.derive}
        if self.is_priced_by_unit and "amount" in mapped:
            raise ValueError(
                "amount and unit_price are both mapped, and amount = quantity * unit_price. Take one of them away"
            )
        if self.is_priced_by_unit and "quantity" not in mapped:
            raise ValueError("unit_price is mapped without quantity, and amount = quantity * unit_price. Map quantity, too")
        return self


class Feedback(SourceSettings):
    """The ratings, with the scale that they were given on."""

    scale_min: Rating
    scale_max: Rating

    @model_validator(mode="after")
    def _scale_rises(self) -> Feedback:
        if self.scale_min >= self.scale_max:
            raise ValueError("scale_min must be below scale_max")
        return self


class Customers(SourceSettings):
    """The customers, with the attributes to keep beside our own columns."""

    attributes: list[str] = []


class Subscriptions(SourceSettings):
    """The subscriptions, where customers hold any."""


ONE, SEVERAL = "one file", "several files"
FORMS = (ONE, SEVERAL)
"""How a table may be written in params: as one file, or as a list of them, each with its own mapping."""


def _form(given: Any) -> str:
    return SEVERAL if isinstance(given, list | tuple) else ONE


File = TypeVar("File", bound=SourceSettings)
OneOrSeveral = Annotated[
    Annotated[File, Tag(ONE)] | Annotated[Annotated[list[File], Field(min_length=1)], Tag(SEVERAL)], Discriminator(_form)
]


def _require_flags(table: Table, source: SourceSettings) -> None:
    """Raise ValueError when words are given for a column that is no flag or that is not mapped."""
    flags = [column.name for column in table.columns if column.type == "flag"]
    for name in source.flags:
        if name not in flags:
            raise ValueError(f"{table.name}.flags: {name!r} is no flag. {nearest(name, flags)}")
        if name not in source.columns and name not in source.derive:
            raise ValueError(f"{table.name}.flags: {name!r} stands under neither columns nor derive. Map it first")


class Sources(Section):
    """What the delivery consists of. Only transactions are needed, or subscriptions in their place."""

    folder: str
    until: str | None
    earliest: str
    max_reject_share: Share
    ids: Literal["exact"] | IdRule | Annotated[list[IdRule], Field(min_length=1)] = "exact"
    """Which spellings of an id are one customer, in all tables alike."""
    nobody: list[Annotated[str, Field(min_length=1)]] = []
    """Further ids that stand for nobody, e.g. the account of the counter."""
    transactions: OneOrSeveral[Transactions] | None = None
    events: OneOrSeveral[SourceSettings] | None
    feedback: OneOrSeveral[Feedback] | None
    customers: OneOrSeveral[Customers] | None
    subscriptions: OneOrSeveral[Subscriptions] | None = None
    contacts: OneOrSeveral[SourceSettings] | None = None

    @model_validator(mode="after")
    def _columns_are_known(self) -> Sources:
        for name, files in self.tables.items():
            for file in files:
                require_columns(SOURCES[name], [*file.columns, *file.derive])
                _require_flags(SOURCES[name], file)
        return self

    @model_validator(mode="after")
    def _files_fit_together(self) -> Sources:
        with_amount = {"amount" in given(file) for file in self.tables.get("transactions", ())}
        if len(with_amount) > 1:
            raise ValueError("amount is mapped in some files of transactions and not in others: map it in all or in none")
        if len({(file.scale_min, file.scale_max) for file in self.files(Feedback)}) > 1:
            raise ValueError("all files of feedback need the same scale_min and scale_max: derive ratings on one scale")
        return self

    @property
    def id_rules(self) -> tuple[IdRule, ...]:
        """The rules that make one customer of several spellings, in the order in which they are applied."""
        given = [] if self.ids == "exact" else [self.ids] if isinstance(self.ids, str) else self.ids
        return tuple(rule for rule in ID_RULES if rule in given)

    @property
    def tables(self) -> dict[str, tuple[SourceSettings, ...]]:
        """The tables that the delivery has, by name, with the files that each consists of."""
        found = {name: getattr(self, name) for name in SOURCES}
        return {
            name: tuple(given) if isinstance(given, list) else (given,) for name, given in found.items() if given is not None
        }

    def files(self, kind: type[File]) -> list[File]:
        """Return the files of the table of one kind, e.g. Feedback."""
        return [file for files in self.tables.values() for file in files if isinstance(file, kind)]

    def columns(self, table: str) -> list[str]:
        """Return the columns of ours that any file of a table gives, in the order of the table."""
        mapped = {name for file in self.tables.get(table, ()) for name in given(file)}
        return [name for name in SOURCES[table].names if name in mapped]

    @property
    def attributes(self) -> list[str]:
        """The further columns of the customers that are kept, of all files."""
        return list(dict.fromkeys(name for file in self.files(Customers) for name in file.attributes))


MOST_BOOKING_DAYS = 730
"""Nobody books further ahead: what lies beyond is a typing error."""


def has_bookings(source: SourceSettings) -> bool:
    """Return whether lines of a file that lie after today are bookings, and no errors."""
    return isinstance(source, Transactions) and source.bookings is not False


def given(source: SourceSettings) -> set[str]:
    """Return the columns of ours that a file gives: mapped, derived, or an amount that follows from its unit price."""
    priced = isinstance(source, Transactions) and source.is_priced_by_unit
    return {*source.columns, *source.derive, *(("amount",) if priced else ())}
