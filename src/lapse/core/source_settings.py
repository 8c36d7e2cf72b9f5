"""What params.yaml says about the delivery: which tables there are, where, and how they are read (land, sources)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lapse.core.tables import SOURCES, require_columns

Share = Annotated[float, Field(ge=0, le=1)]
Rating = Annotated[float, Field(gt=-1e9, lt=1e9)]

OBJECT_SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# `scheme://user:password@host`, with whatever odd characters an unquoted password may hold.
PASSWORD = re.compile(r"(://[^/@:\s]*:)([^\s]+)(@)")
PASSWORD_OPTION = re.compile(r"(?i)([?&;][^=&\s]*(?:pass|pwd|secret|token|key)[^=&\s]*=)([^&;\s]+)")


def literal_password(url: str) -> bool:
    """Return whether a URL holds a password that is not written as ${NAME}."""
    found = [match.group(2) for pattern in (PASSWORD, PASSWORD_OPTION) for match in pattern.finditer(url)]
    return any(not PLACEHOLDER.fullmatch(password) for password in found)


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


class Reading(Section):
    """Where a file is and how to read it; what is left out is found out by looking at the file."""

    path: Annotated[str, Field(min_length=1)]
    delimiter: Annotated[str, Field(min_length=1, max_length=4)] | None = None
    encoding: str | None = None
    names: Annotated[list[str], Field(min_length=1)] | None = None
    """The columns' names of a delimited file without a header."""
    sheet: str | None = None

    @model_validator(mode="after")
    def _delimiter_divides(self) -> Reading:
        if self.delimiter is not None and set(self.delimiter) & set('"\n\r\0'):
            raise ValueError("delimiter must not hold a quote, a line end or a NUL")
        return self


class Join(Reading):
    """A further file, LEFT JOINed to the rows so far on the columns that both have."""

    on: Annotated[list[str], Field(min_length=1)]


class SourceSettings(Reading):
    """One delivered table: where it is, how to read it, which of its columns is which of ours."""

    columns: dict[str, str]
    derive: dict[str, str] = {}
    joins: list[Join] = []
    decimal: Literal[".", ","] = "."
    timezone: str = "UTC"
    time_format: str | None = None
    duplicates: Literal["drop", "keep"] = "drop"


class Transactions(SourceSettings):
    """The order lines."""

    max_amount: Annotated[float, Field(gt=0, lt=1e14)] = 1_000_000.0


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


class Sources(Section):
    """What the delivery consists of. Only transactions are needed, or subscriptions in their place."""

    folder: str
    until: str | None
    earliest: str
    max_reject_share: Share
    transactions: Transactions | None = None
    events: SourceSettings | None
    feedback: Feedback | None
    customers: Customers | None
    subscriptions: Subscriptions | None = None

    @model_validator(mode="after")
    def _columns_are_known(self) -> Sources:
        for name, table in SOURCES.items():
            source: SourceSettings | None = getattr(self, name)
            if source is not None:
                require_columns(table, [*source.columns, *source.derive])
        return self

    @property
    def tables(self) -> dict[str, SourceSettings]:
        """The tables that the delivery has, by name."""
        return {name: source for name in SOURCES if (source := getattr(self, name)) is not None}
