"""Publishing to servers: PostgreSQL, MySQL and MariaDB.

PostgreSQL   COPY and one transaction; `create or replace view` keeps the readers' grants
MySQL        commits every definition at once, so tables and views change by one RENAME TABLE each, which is atomic
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lapse.core.errors import SettingsError
from lapse.core.tables.contract import Table, Type
from lapse.history.landing.secrets import Secret
from lapse.outreach.publish_targets import ANSI_TYPES, LOCK_MS, DbApiTarget, locked

if TYPE_CHECKING:
    import pyarrow as pa

OURS = re.compile(r"lapse_(scores|reasons|lists|crr)(_\d{8})?__(old|new)")
"""What a killed run may leave; whatever else is there is somebody else's."""
LOCK_NAME = "lapse publish"
OLD = "__old"
KINDS = {"TABLE": "BASE TABLE", "VIEW": "VIEW"}
"""What MySQL's definitions call a kind, and what its catalogue does."""
MYSQL_TYPES: dict[Type, str] = {**ANSI_TYPES, "text": "TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"}


class PostgreSql(DbApiTarget):
    """PostgreSQL: tables and views of the first schema in the user's search_path."""

    def __init__(self, url: Secret, connection: Any) -> None:
        super().__init__(url, connection)
        if self.ask("SELECT current_schema()") == [(None,)]:
            raise SettingsError(f"publish: {url} leads to no schema: none of the user's search_path is there. Make one.")
        if not self.ask("SELECT pg_try_advisory_xact_lock(hashtext(%s || current_schema()))", LOCK_NAME)[0][0]:
            raise locked(url)

    def tables(self, beginning: str) -> list[str]:
        """As `Target.tables`."""
        found = self.ask("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND "
                         "starts_with(tablename, %s) ORDER BY 1", beginning)  # fmt: skip
        return [name for (name,) in found]

    def fill(self, name: str, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
        """As `Target.fill`, by COPY of CSV that pyarrow writes: an empty text has quotes there, null has none."""
        from pyarrow import csv

        form, rows = csv.WriteOptions(include_header=False, quoting_style="all_valid"), 0
        with self.connection.cursor().copy(f"COPY {self.name(name)} FROM STDIN (FORMAT csv)") as copy:
            for batch in batches:
                lines = io.BytesIO()
                csv.write_csv(batch, lines, form)
                copy.write(lines.getbuffer())
                rows += batch.num_rows
        self.run(f"ANALYZE {self.name(name)}")
        return rows

    def change(self, names: Sequence[str], leading: Mapping[str, str]) -> None:
        """As `Target.change`."""
        with self.connection.transaction():  # a savepoint: the loaded tables stay when a reader is in the way
            self.run(f"SET LOCAL lock_timeout = {LOCK_MS}")
            for view, name in leading.items():
                new = f"{name}{self.aside}"
                self.run(self.view(view, new, self._columns(view, new)))
            for name in names:
                self.run(f"DROP TABLE IF EXISTS {self.name(name)}",
                         f"ALTER TABLE {self.name(f'{name}{self.aside}')} RENAME TO {self.name(name)}")  # fmt: skip
        self.connection.commit()

    def _columns(self, view: str, table: str) -> str:
        """Return the columns for a view: those it has, in their order, and new ones behind them.

        PostgreSQL replaces a view by no other one; what a later lapse no longer writes is null.
        """
        known = self.ask(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(%s) "
            "AND attnum > 0 AND NOT attisdropped ORDER BY attnum", self.name(view),
        )  # fmt: skip
        there = [name for (name,) in self.ask(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 ORDER BY attnum",
            self.name(table),
        )]  # fmt: skip
        kept = [self.name(name) if name in there else f"NULL::{kind} AS {self.name(name)}" for name, kind in known]
        return ", ".join([*kept, *(self.name(name) for name in there if name not in dict(known))])

    def is_busy(self, error: BaseException) -> bool:
        """As `Target.is_busy`."""
        return getattr(error, "sqlstate", None) == "55P03"

    def drop(self, name: str) -> None:
        """As `Target.drop`."""
        try:
            self.run(f"SET LOCAL lock_timeout = {LOCK_MS}", f"DROP TABLE IF EXISTS {self.name(name)}")
            self.connection.commit()
        except Exception:
            self.connection.rollback()
            raise


class MySql(DbApiTarget):
    """MySQL and MariaDB: tables and views of the database that the URL names."""

    types = MYSQL_TYPES

    def __init__(self, url: Secret, connection: Any) -> None:
        super().__init__(url, connection)
        if self.ask("SELECT database()")[0][0] is None:
            raise SettingsError(f"publish: {url} names no database. Write it behind the host: mysql://user@host/database.")
        if not self.ask("SELECT GET_LOCK(left(concat(%s, '.', database()), 64), 0)", LOCK_NAME)[0][0]:
            raise locked(url)
        self._sweep()
        self.run("SET SESSION lock_wait_timeout = 1")  # seconds, and no less is possible

    def name(self, text: str) -> str:
        """As `Target.name`."""
        return f"`{text.replace('`', '``')}`"

    def tables(self, beginning: str, kind: str = "BASE TABLE") -> list[str]:
        """As `Target.tables`."""
        found = self.ask("SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND "
                         "table_type = %s ORDER BY 1", kind)  # fmt: skip
        return [name for (name,) in found if name.startswith(beginning)]

    def fill(self, name: str, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
        """As `Target.fill`, by INSERT of many rows at once: LOAD DATA LOCAL is off in most servers."""
        rows = self.insert(name, table, batches, "%s")
        self.connection.commit()
        return rows

    def index(self, name: str) -> None:
        """As `Target.index`."""
        self.run(f"CREATE INDEX customer ON {self.name(name)} (customer_id(64))")

    def change(self, names: Sequence[str], leading: Mapping[str, str]) -> None:
        """As `Target.change`; where the day was there before, its views have changed with the first renaming."""
        self._rename("TABLE", names)
        for view, name in leading.items():
            self.run(self.view(f"{view}{self.aside}", name))
        self._rename("VIEW", list(leading))

    def _rename(self, kind: str, names: Sequence[str]) -> None:
        """Put what was made beside in the place of what readers see, all of it in one step."""
        known, steps, before = set(self.tables("", KINDS[kind])), [], []
        for name in names:
            old, new = f"{name}{OLD}", f"{name}{self.aside}"
            if new not in known:  # renamed in an earlier turn
                continue
            if name in known:
                steps.append(f"{self.name(name)} TO {self.name(old)}")
                before.append(f"DROP {kind} {self.name(old)}")
            steps.append(f"{self.name(new)} TO {self.name(name)}")
        if steps:
            self.run(f"RENAME TABLE {', '.join(steps)}")
        self.run(*before)

    def _sweep(self) -> None:
        """Remove what a killed run left."""
        for kind, known in KINDS.items():
            for name in self.tables("lapse_", known):
                if OURS.fullmatch(name):
                    self.run(f"DROP {kind} {self.name(name)}")

    def is_busy(self, error: BaseException) -> bool:
        """As `Target.is_busy`."""
        return bool(error.args) and error.args[0] == 1205

    def drop(self, name: str) -> None:
        """As `Target.drop`."""
        self.run(f"DROP TABLE IF EXISTS {self.name(name)}")
