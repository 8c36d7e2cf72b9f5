"""A small delivery in a temporary folder, and what validate makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lapse.core.engine import open_engine
from lapse.core.source_settings import Sources
from lapse.history.validation.counts import Count
from lapse.history.validation.rejects import Reject
from lapse.history.validation.validate import DeliveryRefused, validate

TODAY = date(2020, 6, 30)
COLUMNS: dict[str, dict[str, str]] = {
    "transactions": {"customer_id": "who", "ordered_at": "at", "amount": "paid"},
    "events": {"customer_id": "who", "occurred_at": "at", "event_type": "what"},
    "feedback": {"customer_id": "who", "rated_at": "at", "rating": "stars"},
    "customers": {"customer_id": "who", "segment": "group"},
}
EXTRA: dict[str, dict[str, Any]] = {"feedback": {"scale_min": 1.0, "scale_max": 5.0}}
TABLES = (*COLUMNS, "subscriptions", "contacts")


def of_file(table: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a file of a table, with the usual columns where none are given."""
    return {"columns": COLUMNS.get(table, {}), **EXTRA.get(table, {}), **settings}


@dataclass
class Outcome:
    """What validate made of a delivery."""

    counts: dict[str, Count]
    out: Path

    def rows(self, table: str = "transactions", columns: str = "*") -> list[tuple[Any, ...]]:
        return duckdb.sql(f"SELECT {columns} FROM read_parquet('{self.out / table}.parquet') ORDER BY ALL").fetchall()

    def numbers(self, table: str = "transactions") -> tuple[int, int, int, int]:
        count = self.counts[table]
        return count.rows_in, count.rows_kept, count.rows_rejected, count.rows_duplicate

    def reasons(self, table: str = "transactions") -> dict[str, int]:
        return {reject.reason: reject.rows for reject in self.counts[table].rejects}

    def reject(self, reason: str, table: str = "transactions") -> Reject:
        return next(reject for reject in self.counts[table].rejects if reject.reason == reason)


Validate = Callable[..., Outcome]


def files_in(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the delivery is put."""
    made = tmp_path / "raw"
    made.mkdir()
    return made


@pytest.fixture
def run_validate(tmp_path: Path, folder: Path) -> Validate:
    """Settings of source tables in, what validate made of the delivery out; nothing may be left over when it refuses."""

    def run(
        max_reject_share: float = 1.0,
        until: str | None = None,
        business_timezone: str = "UTC",
        ids: str | list[str] = "exact",
        nobody: tuple[str, ...] = (),
        **tables: dict[str, Any] | list[dict[str, Any]],
    ) -> Outcome:
        given: dict[str, Any] = {
            name: [of_file(name, file) for file in settings] if isinstance(settings, list) else of_file(name, settings)
            for name, settings in tables.items()
        }
        if "transactions" not in given:
            (folder / "fine.csv").write_text("who,at,paid\na,2020-01-01,1\n")
            given["transactions"] = {"columns": COLUMNS["transactions"], "path": "fine.csv"}
        shape = {"folder": str(folder), "until": until, "earliest": "1990-01-01", "max_reject_share": max_reject_share,
                 "ids": ids, "nobody": list(nobody)}  # fmt: skip
        sources = Sources.model_validate(shape | dict.fromkeys(TABLES) | given)
        out, report = tmp_path / "data" / "validated", tmp_path / "data" / "reports" / "usability.json"
        before = files_in(tmp_path / "data")
        with open_engine(threads=1) as engine:
            try:
                _, counts = validate(engine, sources, business_timezone, out, report, TODAY)
            except DeliveryRefused:
                left = {path.relative_to(tmp_path / "data").as_posix() for path in files_in(tmp_path / "data")}
                assert left - {"validated/rejects.parquet"} == set(), "a refused delivery leaves its rejects only"
                raise
            except BaseException:
                assert files_in(tmp_path / "data") == before, "a refused delivery must leave no output"
                raise
        for name, count in counts.items():
            total = count.rows_kept + count.rows_rejected + count.rows_duplicate + count.rows_left_out
            assert count.rows_in + count.rows_added == total, f"{name}: {count}"
            written = duckdb.sql(f"SELECT count(*) FROM read_parquet('{out / name}.parquet')").fetchall()[0][0]
            rejects = (
                f"SELECT coalesce(sum(copies), 0) FROM read_parquet('{out}/rejects.parquet') WHERE table_name = '{name}'"
            )
            assert (written, duckdb.sql(rejects).fetchall()[0][0]) == (count.rows_kept, count.rows_rejected)
            # A row with several reasons is counted under each of them.
            assert sum(reject.rows for reject in count.rejects) >= count.rows_rejected
            assert all(reject.rows <= count.rows_rejected and len(reject.values) <= 3 for reject in count.rejects)
        return Outcome(counts, out)

    return run
