"""The validated months of a table that is validated by file: written anew where files came or went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lapse.core.cache import key_of
from lapse.core.engine import DuckEngine
from lapse.core.source_settings import Sources
from lapse.history.reading.expressions import literal, quoted
from lapse.history.reading.identity import WRITTEN_AS_FLOAT
from lapse.history.reading.sources import stage_source
from lapse.history.reading.staging import positions
from lapse.history.validation.casts import IN_THE_FUTURE
from lapse.history.validation.counts import Count, FileCount, count_table, number_of
from lapse.history.validation.kept_index import Index, KeptFile, month_folder, rejected_folder
from lapse.history.validation.rejects import JudgedFile, hold_rejects

if TYPE_CHECKING:
    from lapse.history.validation.by_file import FolderTable

FILE, ROW, HASH = "source_file", "source_row", "source_hash"
"""The columns of a validated month that say where a row comes from; and what of the delivered row, where the same is one."""
ROW_BITS = 40
"""The number of a staged row is the place of its file, then so many bits for its own place in it."""
EMPTY = "none"
"""The month of a table without a row."""


@dataclass(frozen=True)
class Months:
    """The months of a table, to be brought up to date."""

    engine: DuckEngine
    opened: FolderTable

    @property
    def _staged(self) -> str:
        return self.opened.file.delivery.staged

    @property
    def _cells(self) -> list[str]:
        return positions(len(self.opened.index.columns))

    @property
    def _drops(self) -> bool:
        return self.opened.file.source.duplicates == "drop"

    @property
    def _stays(self) -> str:
        """The SQL of whether a row of a month, or a rejected one, is of a file that stays."""
        return f"{FILE} NOT IN ({', '.join(map(str, self.opened.gone))})" if self.opened.gone else "true"

    def _file_of(self, number: str) -> str:
        """Return the SQL of the number of a file, given that of a staged row."""
        numbers = ", ".join(str(file.number) for file in self.opened.new.values())
        return f"([{numbers}]::BIGINT[])[({number} >> {ROW_BITS}) + 1]"

    def _paths(self, names: Sequence[str]) -> str:
        folder = month_folder(self.opened.folder, self.opened.table.name)
        return f"read_parquet([{', '.join(literal(str(folder / name)) for name in names)}])"

    def _run(self, query: str) -> None:
        self.engine.connection.execute(query)

    def hold_known(self, sources: Sources, paths: Mapping[str, Path]) -> None:
        """Hold the hash of every new row, and which new rows are the same as one that is kept, and in which file.

        Rows that are the same have the same hash; only those that share theirs are compared, as they were delivered.
        """
        staged, cells, kept = (
            self._staged,
            self._cells,
            {file.number: paths[p] for p, file in self.opened.index.files.items()},
        )
        number = self.opened.file.delivery.number
        self._run(f"CREATE OR REPLACE TEMP TABLE {staged}_hashed AS "
                  f"SELECT {number} AS number, hash({', '.join(cells)}) AS h FROM {staged}")  # fmt: skip
        self._run(f"CREATE OR REPLACE TEMP TABLE {staged}_known (number BIGINT, file BIGINT)")
        if not self.opened.new or not kept:
            return
        self._run(f"CREATE OR REPLACE TEMP TABLE {staged}_alike AS SELECT n.number, o.{FILE} AS file, o.{ROW} AS row "
                  f"FROM {staged}_hashed n JOIN {self._paths(list(self.opened.index.months.values()))} o ON n.h = o.{HASH} "
                  f"WHERE {self._stays}")  # fmt: skip
        alike = sorted({row[0] for row in self.engine.connection.execute(f"SELECT file FROM {staged}_alike").fetchall()})
        if not alike:
            return
        where = f"{self.opened.file.where}.kept"
        twice = self.opened.file.source.model_copy(update={"duplicates": "keep"})
        given = stage_source(self.engine, sources.folder, where, twice, only=[kept[number] for number in alike])
        place = f"list_position([{', '.join(map(str, alike))}], a.file) - 1"
        same = " AND ".join(f"s.{cell} IS NOT DISTINCT FROM g.{cell}" for cell in cells)
        self._run(f"INSERT INTO {staged}_known SELECT DISTINCT a.number, a.file FROM {staged}_alike a "
                  f"JOIN {staged} s ON s.number = a.number "
                  f"JOIN {given.staged} g ON g.number = (({place})::BIGINT << {ROW_BITS}) + a.row AND {same}")  # fmt: skip
        given.drop(self.engine, where)

    def write(self, found: JudgedFile) -> tuple[dict[str, KeptFile], dict[str, str]]:
        """Write every month in which a row came or went; return the files of the table, and all months with their files."""
        opened, table = self.opened, self.opened.table
        if (whole := month_folder(opened.folder, table.name)).is_file():
            whole.unlink()  # of a night that made the table from nothing
        columns = ", ".join(f"{quoted('out_' + name)} AS {quoted(name)}" for name in table.names)
        rows = f"{found.rows} j"
        if self._drops:
            columns += f", h AS {HASH}"
            rows += f" JOIN {self._staged}_hashed USING (number) ANTI JOIN {self._staged}_known USING (number)"
        self._run(f"CREATE OR REPLACE TEMP TABLE new_rows AS SELECT {columns}, {self._file_of('number')} AS {FILE}, "
                  f"number & {(1 << ROW_BITS) - 1} AS {ROW}, strftime({quoted('out_' + table.day)}, '%Y-%m') AS month "
                  f"FROM {rows} WHERE faults = 0")  # fmt: skip
        known = self.engine.connection.execute(f"SELECT DISTINCT month, {FILE} FROM new_rows ORDER BY ALL").fetchall()
        files = opened.index.files | self._new_files(found, known)
        touched = {month for month, _ in known} | {month for file in opened.gone.values() for month in file.months}
        written = {month: name for month, name in opened.index.months.items() if month not in touched | {EMPTY}}
        given = [name for name in table.names if name in found.mapped and name != table.day]
        came = key_of(opened.index.key, *opened.new.items(), *opened.gone.items())
        for month in sorted(touched):
            query = f"SELECT * EXCLUDE (month) FROM new_rows WHERE month = {literal(month)}"
            if before := opened.index.months.get(month):
                query += f" UNION ALL BY NAME SELECT * FROM {self._paths([before])} WHERE {self._stays}"
            if number_of(self.engine, f"({query})"):
                written[month] = f"{month}-{came[:16]}.parquet"
                path = month_folder(opened.folder, table.name) / written[month]
                self.engine.write_query(query, path, [*given, FILE, ROW])
        if not written:
            written = {EMPTY: f"{EMPTY}.parquet"}
            path = month_folder(opened.folder, table.name) / written[EMPTY]
            self.engine.write_query("SELECT * EXCLUDE (month) FROM new_rows WHERE false", path, [FILE])
        self._run("DROP TABLE new_rows")
        names = ", ".join(map(quoted, table.names))
        self._run(f"CREATE OR REPLACE TEMP VIEW valid_{table.name} AS "
                  f"SELECT {names} FROM {self._paths(list(written.values()))}")  # fmt: skip
        return files, dict(sorted(written.items()))

    def write_rejected(self, found: JudgedFile) -> str | None:
        """Write the rejected rows of all files as they were delivered, hold them for the counts, and return their file."""
        opened, staged = self.opened, self._staged
        folder, cells = rejected_folder(opened.folder, opened.table.name), ", ".join(self._cells)
        query = (f"SELECT {', '.join(f's.{cell}' for cell in self._cells)}, j.faults, j.copies, "
                 f"{self._file_of('j.number')} AS {FILE} FROM {found.rows} j JOIN {staged} s "
                 f"ON s.{opened.file.delivery.number} = j.number WHERE j.faults <> 0")  # fmt: skip
        if opened.index.rejected:
            before = literal(str(folder / opened.index.rejected))
            query += f" UNION ALL SELECT * FROM read_parquet({before}) WHERE {self._stays}"
        self._run(f"CREATE OR REPLACE TEMP TABLE all_rejected AS {query}")
        together = f"SELECT {cells}, faults, sum(copies)::BIGINT AS copies FROM all_rejected GROUP BY {cells}, faults"
        self._run(f"CREATE OR REPLACE TEMP TABLE {found.rejected} AS {together}")
        name = None if opened.new or opened.gone else opened.index.rejected
        if name is None and number_of(self.engine, "all_rejected"):
            name = f"{key_of(opened.index.key, *opened.new.items(), *opened.gone.items())[:16]}.parquet"
            self.engine.write_query("SELECT * FROM all_rejected", folder / name, [FILE, "faults"])
        self._run("DROP TABLE all_rejected")
        return name

    def may_be_floats(self) -> bool:
        """Whether no id of a customer is left that shows that ids are not written as 17850.0 throughout."""
        plain = f"NOT regexp_full_match(customer_id, {literal(WRITTEN_AS_FLOAT)})"
        return not number_of(self.engine, f"(SELECT 1 FROM valid_{self.opened.table.name} WHERE {plain} LIMIT 1)")

    def count(self, index: Index, found: JudgedFile, sources: Sources) -> Count:
        """Fill the temporary tables of rejects, and return the checked counts."""
        table = self.opened.table
        self._run(f"CREATE OR REPLACE TEMP TABLE set_aside_{table.name} (copies BIGINT, is_after_until BOOLEAN)")
        hold_rejects(self.engine, table, found)
        whole = FileCount(
            found.source.path, rows_in=sum(file.rows for file in index.files.values()),
            rows_kept=number_of(self.engine, f"valid_{table.name}"),
            rows_rejected=number_of(self.engine, f"rejects_{table.name}", "coalesce(sum(copies), 0)"),
            rows_duplicate=sum(file.duplicates for file in index.files.values()), rows_left_out=0, rows_added=0,
        )  # fmt: skip
        return count_table(self.engine, table, [found], sources, index.today, [whole])

    def _new_files(self, found: JudgedFile, known: Sequence[tuple[str, int]]) -> dict[str, KeptFile]:
        """Return what is known of the new files, given the months of each, and of those that stay, with their links."""
        import pyarrow.parquet as pq

        opened = self.opened
        late = sum(1 << place for place, check in enumerate(found.checks) if check.reason == IN_THE_FUTURE)
        early = self._numbers(f"SELECT DISTINCT {self._file_of('number')}, 0 FROM {found.rows} WHERE faults & {late} <> 0")
        duplicates, links = {}, set[tuple[int, int]]()
        if self._drops and opened.new:
            duplicates = self._numbers(
                f"SELECT {self._file_of('number')}, sum(CASE WHEN k.number IS NULL THEN copies - 1 ELSE copies END)::BIGINT "
                f"FROM {found.rows} LEFT JOIN {self._staged}_known k USING (number) WHERE faults = 0 GROUP BY 1"
            )
            links = set(self.engine.connection.execute(
                f"SELECT DISTINCT {self._file_of('number')} AS a, {self._file_of('first')} AS b FROM {self._staged}_copies "
                f"WHERE a <> b UNION SELECT {self._file_of('number')}, file FROM {self._staged}_known"
            ).fetchall())  # fmt: skip
        months: dict[int, list[str]] = {}
        for month, number in known:
            months.setdefault(number, []).append(month)
        read = dict(zip(opened.new, opened.file.delivery.files, strict=True))
        made = {
            place: file.model_copy(update={
                "rows": pq.read_metadata(read[place].path).num_rows, "duplicates": duplicates.get(file.number, 0),
                "months": months.get(file.number, []), "is_early": file.number in early,
            }) for place, file in opened.new.items()
        }  # fmt: skip
        return {place: _linked(file, links) for place, file in (opened.index.files | made).items()}

    def _numbers(self, query: str) -> dict[int, int]:
        return dict(self.engine.connection.execute(query).fetchall()) if self.opened.new else {}


def _linked(file: KeptFile, links: set[tuple[int, int]]) -> KeptFile:
    """Return a file with what it is linked with besides."""
    others = {b for a, b in links if a == file.number} | {a for a, b in links if b == file.number}
    return file.model_copy(update={"linked": sorted({*file.linked, *others})}) if others else file
