"""What became of every delivered row: rows in + added by joins = kept + rejected + duplicates + left out by where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError
from lapse.core.source_settings import Sources, Transactions, has_bookings
from lapse.core.tables.contract import Table
from lapse.core.tables.sources import TRANSACTIONS
from lapse.history.reading.expressions import literal
from lapse.history.reading.joins import JoinCount
from lapse.history.validation.casts import IN_THE_FUTURE
from lapse.history.validation.rejects import JudgedFile, Reject, count_rejects, together

COPIES = "coalesce(sum(copies), 0)"
"""The number of delivered rows that distinct rows stand for."""
MOST_FUTURE, FEW_FUTURE = 0.05, 100
"""Where more than this share, and this number, of rows lie in the future, a clock is wrong or a time was misread."""
MOST_REASONS = 4
"""A message names so many reasons of each table; the report names all."""


@dataclass(frozen=True)
class FileCount:
    """What became of the rows of one of the files that make up a table."""

    path: str
    rows_in: int
    rows_kept: int
    rows_rejected: int
    rows_duplicate: int
    rows_left_out: int
    """Rows for which the condition `where` of params does not hold."""
    rows_added: int
    """How many rows there are more than were delivered, because a joined file has several for a key."""

    @property
    def adds_up(self) -> bool:
        """Whether nothing is lost and nothing counted twice."""
        became = self.rows_kept + self.rows_rejected + self.rows_duplicate + self.rows_left_out
        return self.rows_in + self.rows_added == became

    @property
    def equation(self) -> str:
        """The row equation in words."""
        added = f" + {self.rows_added:,} added by joins" if self.rows_added else ""
        text = (f"{self.rows_in:,} rows in{added} = {self.rows_kept:,} kept + {self.rows_rejected:,} rejected "
                f"+ {self.rows_duplicate:,} duplicates")  # fmt: skip
        return f"{text} + {self.rows_left_out:,} left out by where" if self.rows_left_out else text

    def __str__(self) -> str:
        """Return the file's row equation."""
        return f"{self.path}: {self.equation}"


@dataclass(frozen=True)
class Count:
    """What became of one source table's rows."""

    rows_in: int
    rows_kept: int
    rows_rejected: int
    rows_duplicate: int
    rows_after_until: int
    rejects: list[Reject]
    notes: list[str] = field(default_factory=list)
    """What was found out about how to read the files, e.g. an encoding or an order of day and month that nobody named."""
    rows_added: int = 0
    """How many rows there are more than were delivered, because a joined file has several for a key."""
    joins: tuple[JoinCount, ...] = ()
    id_rules: tuple[str, ...] = ()
    """The rules of sources.ids that were applied to customer_id."""
    rows_left_out: int = 0
    """Rows for which the condition `where` of params does not hold."""
    rows_booked: int = 0
    """Order lines after today: bookings, which are left out and kept for the lists."""
    files: list[FileCount] = field(default_factory=list)
    """The same for each file, where a table consists of several."""
    refusal: str | None = None
    """Why the table cannot be used, in one sentence; None when it can."""

    def __str__(self) -> str:
        """Return the row equation that was checked, of each file too where there are several, and the frequent reasons."""
        whole = FileCount("", self.rows_in, self.rows_kept, self.rows_rejected, self.rows_duplicate, self.rows_left_out,
                          self.rows_added)  # fmt: skip
        text = whole.equation
        text += f" ({self.rows_after_until:,} after sources.until left out)" if self.rows_after_until else ""
        text += f" ({self.rows_booked:,} after today left out: bookings)" if self.rows_booked else ""
        text += "".join(f"\n    {file}" for file in self.files)
        text += "".join(f"\n    {reject}" for reject in self.rejects)
        return text + "".join(f"\n    {note}" for note in self.notes)


def booked_rows(today: date, files: Sequence[JudgedFile]) -> str:
    """Return the SQL of the order lines after today that are bookings, of the checked transactions."""
    some = ", ".join(["-1", *(str(file.number) for file in files if has_bookings(file.source))])
    return (f"(SELECT * FROM checked_rows_{TRANSACTIONS.name} WHERE file IN ({some}) AND faults = 0 AND is_after_until "
            f"AND out_order_date > {literal(str(today))}::DATE AND NOT coalesce(out_is_return, false))")  # fmt: skip


def count_table(
    engine: DuckEngine,
    table: Table,
    files: Sequence[JudgedFile],
    sources: Sources,
    today: date,
    by_file: Sequence[FileCount] | None = None,
) -> Count:
    """Return the checked row equation of a table and of each of its files, with a refusal when too few rows are usable.

    What came in is counted in the staged delivery, unless it is known `by_file`; what became of it in the tables that are
    written.
    """
    booked = number_of(engine, booked_rows(today, files), COPIES) if table is TRANSACTIONS and by_file is None else 0
    after_until = number_of(engine, f"set_aside_{table.name} WHERE is_after_until", COPIES) - booked
    by_file = [_count_file(engine, table, file) for file in files] if by_file is None else by_file
    kept, rejected = number_of(engine, f"valid_{table.name}"), number_of(engine, f"rejects_{table.name}", COPIES)
    rows_in, duplicates = sum(file.rows_in for file in by_file), sum(file.rows_duplicate for file in by_file)
    left_out, added = sum(file.rows_left_out for file in by_file), sum(file.rows_added for file in by_file)
    whole = FileCount(f"sources.{table.name}", rows_in, kept, rejected, duplicates, left_out, added)
    wrong = [file for file in (whole, *by_file) if not file.adds_up]
    if wrong:
        raise DataError(f"{wrong[0]} do not add up. This is a fault of lapse: please report it.")
    rejects = together(reject for file in files for reject in count_rejects(engine, table, file))
    return Count(
        rows_in=rows_in, rows_kept=kept, rows_rejected=rejected, rows_duplicate=duplicates, rows_after_until=after_until,
        rejects=rejects, notes=list(dict.fromkeys(note for file in files for note in file.notes)), rows_added=added,
        joins=tuple(join for file in files for join in file.delivery.joins), id_rules=sources.id_rules,
        rows_left_out=left_out, rows_booked=booked, files=list(by_file) if len(by_file) > 1 else [],
        refusal=_refusal(table, sources, whole, rejects, after_until=after_until, paths=[file.path for file in by_file],
                         booked=booked if all(file.source.bookings == "auto" for file in files
                                              if isinstance(file.source, Transactions)) else 0),
    )  # fmt: skip


def _refusal(
    table: Table,
    sources: Sources,
    whole: FileCount,
    rejects: Sequence[Reject],
    *,
    after_until: int,
    paths: Sequence[str],
    booked: int,
) -> str | None:
    """Return why a table cannot be used, with the most frequent reasons; None when it can."""
    why = "".join(f"{str(reject).rstrip('.')}. " for reject in rejects[:MOST_REASONS])
    judged = whole.rows_in + whole.rows_added - whole.rows_left_out
    if whole.rows_rejected > sources.max_reject_share * judged:
        return (f"sources.{table.name}: {whole.rows_rejected:,} of {judged:,} rows were rejected, more than "
                f"sources.max_reject_share allows. {why}Check the mapping in params.yaml.")  # fmt: skip
    future = max((reject.rows for reject in rejects if reject.reason.endswith(IN_THE_FUTURE)), default=0)
    if future + booked > max(MOST_FUTURE * (judged + booked), FEW_FUTURE):
        bookings = f" Where they are bookings, say so: sources.{table.name}.bookings: true." if booked else ""
        return (f"sources.{table.name}: {future + booked:,} of {judged + booked:,} rows lie in the future. {why}Check the "
                f"clock of this machine, then time_format and timezone in params.yaml.{bookings}")  # fmt: skip
    main = "subscriptions" if sources.transactions is None else "transactions"
    if whole.rows_kept == 0 and table.name == main:
        until = f" up to sources.until ({sources.until})" if after_until else ""
        out = f" ({whole.rows_left_out:,} left out by where)" if whole.rows_left_out else ""
        return f"sources.{main}: {', '.join(paths[:3])} has no usable row{until}{out}. {why}Check the delivery."
    return None


def _count_file(engine: DuckEngine, table: Table, file: JudgedFile) -> FileCount:
    """Return what became of the rows of one file."""
    staged, aside = file.delivery.staged, f"set_aside_{table.name} WHERE file = {file.number}"
    late = f"{aside} AND is_after_until"
    rows_in = number_of(engine, staged, COPIES) - number_of(engine, late, COPIES)
    rows_in += sum(number_of(engine, unusable.table) for unusable in file.delivery.unusable) + file.left_out
    added = file.added
    if file.delivery.joins:
        added -= number_of(
            engine, f"{staged} WHERE {file.delivery.number} IN (SELECT number FROM {late})", "coalesce(sum(added), 0)"
        )  # fmt: skip
    different, usable = (number_of(engine, file.rows, n) - number_of(engine, aside, n) for n in ("count(*)", COPIES))
    duplicates = usable - different if file.source.duplicates == "drop" else 0
    kept = different if file.source.duplicates == "drop" else usable
    rejected = number_of(engine, f"rejects_{table.name} WHERE file = {file.number}", COPIES)
    return FileCount(file.source.path, rows_in - added, kept, rejected, duplicates, file.left_out, added)


def number_of(engine: DuckEngine, relation: str, what: str = "count(*)") -> int:
    """Return one number over a relation in SQL."""
    row = engine.connection.execute(f"SELECT {what} FROM {relation}").fetchone()
    return int(row[0]) if row else 0
