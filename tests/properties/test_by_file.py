"""Nights over a folder of files that grows, is corrected and loses files: what is kept gives what a run from nothing gives."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from lapse.core.engine import DuckEngine, open_duckdb
from lapse.core.source_settings import Sources
from lapse.core.tables.sources import SOURCES
from lapse.history.validation.by_file import Unfit
from lapse.history.validation.kept_index import index_path
from lapse.history.validation.validate import validate

SEEDS = range(200 if os.environ.get("LAPSE_TESTS") == "long" else 4)
NIGHTS = 7
FIRST = date(2024, 1, 20)
WHO = ["a", "b ", " c", "d", "17850.0", "guest", None]
COLUMNS = {
    "transactions": {
        "customer_id": "who",
        "ordered_at": "at",
        "order_id": "order",
        "product_id": "product",
        "amount": "paid",
    },
    "events": {"customer_id": "who", "occurred_at": "at", "event_type": "product"},
}


def sources_of(folder: Path, duplicates: str, **more: Any) -> Sources:
    given = {
        name: {"path": name, "columns": columns, "duplicates": duplicates if name == "transactions" else "keep", **more}
        for name, columns in COLUMNS.items()
    }
    # Rows after today are rejects here: as bookings they would have the table made from nothing.
    given["transactions"].setdefault("bookings", False)
    shape = dict.fromkeys(("feedback", "customers", "subscriptions"))
    return Sources.model_validate(
        {"folder": str(folder), "until": None, "earliest": "2024-01-03", "max_reject_share": 1.0, **shape, **given}
    )


class Delivery:
    """A folder of dated files, changed at random."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.dice, self.rows, self.day = folder, random.Random(seed), list[Any](), FIRST
        for name in COLUMNS:
            (folder / name).mkdir(parents=True)
        for _ in range(4):
            self.add()

    def row(self, day: date) -> dict[str, Any]:
        """Return a row of a day, which may be late, lie in the future, or be one that was delivered before."""
        dice = self.dice
        if self.rows and dice.random() < 0.3:
            return dict(dice.choice(self.rows))
        late = dice.choice([0, 0, 0, 0, 1, 20, -1, -3])
        row = {"who": dice.choice(WHO[:4] * 4 + WHO), "at": datetime.combine(day, datetime.min.time()) - timedelta(days=late),
               "order": dice.choice(["1", "2", None]), "product": dice.choice(["p", "q", " "]),
               "paid": dice.choice([1.5, 2.0, 1.5, 3.0, None, 1e9]), "line": dice.choice([1, 2])}  # fmt: skip
        self.rows.append(row)
        return row

    def write(self, name: str, stem: str, day: date) -> None:
        frame = pd.DataFrame([self.row(day) for _ in range(self.dice.randint(2, 8))])
        typed = frame.astype({"who": "str", "order": "str", "product": "str", "paid": "float64", "at": "datetime64[us]"})
        typed.to_parquet(self.folder / name / f"{stem}.parquet", index=False)

    def add(self) -> None:
        for name in COLUMNS:
            self.write(name, str(self.day), self.day)
        self.day += timedelta(days=self.dice.choice([0, 1, 1, 9]))

    def change(self) -> None:
        """Do what happens to deliveries between two nights."""
        dice, name = self.dice, self.dice.choice(list(COLUMNS))
        files = sorted((self.folder / name).iterdir())
        what = dice.choice(["add", "add", "correct", "lose", "move", "nothing"])
        if what == "add":
            self.add()
        elif what == "correct":
            self.write(name, dice.choice(files).stem, self.day)
        elif what == "lose" and len(files) > 3:
            dice.choice(files).unlink()
        elif what == "move":
            dice.choice(files).rename(self.folder / name / f"again-{dice.randint(0, 9)}.parquet")


def validated(sources: Sources, out: Path, today: date, *, by_file: bool) -> tuple[dict[str, Any], ...]:
    """Return the sorted rows of all tables, the rejects and the data profile in bytes, and the counts."""
    with open_duckdb(threads=2) as engine:
        _, counts = validate(engine, sources, "UTC", out, out.parent / "u.json", today, by_file=by_file)
    columns = {name: ", ".join(table.names) for name, table in SOURCES.items()}
    rows = {
        name: sorted(map(repr, duckdb.sql(f"SELECT {columns[name]} FROM read_parquet('{out / name}.parquet')").fetchall()))
        for name in columns
    }
    files = {name: (out / name).read_bytes() for name in ("rejects.parquet", "profile.json")}
    return rows, files, {name: asdict(count) for name, count in counts.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_nights_by_file_are_nights_from_nothing(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery, kept, write = Delivery(tmp_path / "raw", seed), tmp_path / "kept" / "validated", DuckEngine.write_query
    dice, today = delivery.dice, delivery.day
    sources = sources_of(delivery.folder, dice.choice(["drop", "drop", "keep"]))
    for night in range(NIGHTS):
        if dice.random() < 0.3:
            # Killed on the way, after some of its files were written.
            left = dice.randint(0, 4)

            def killed(self: DuckEngine, query: str, path: Path, key: Any) -> int:
                nonlocal left
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
                return write(self, query, path, key)

            with monkeypatch.context() as patched:
                patched.setattr(DuckEngine, "write_query", killed)
                with pytest.raises((KeyboardInterrupt, Unfit)):
                    validated(sources, kept, today, by_file=True)
        try:
            found = validated(sources, kept, today, by_file=True)
        except Unfit:  # as when new files say that ids are written otherwise: the night begins from nothing
            shutil.rmtree(kept)
            found = validated(sources, kept, today, by_file=True)
        for name in COLUMNS:
            assert index_path(kept, name).exists() == (len(list((delivery.folder / name).iterdir())) > 1)
        shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
        assert found == validated(sources, tmp_path / "fresh" / "validated", today, by_file=False), (seed, night)
        for _ in range(dice.randint(1, 3)):
            delivery.change()
        today = max(today, delivery.day - timedelta(days=dice.choice([0, 2, 5])))


def test_when_the_last_plain_id_goes_the_table_is_made_from_nothing(tmp_path: Path) -> None:
    # Ids that are written as 17850.0 throughout are read as 17850: whether they are, all files say together.
    delivery, kept = tmp_path / "raw", tmp_path / "kept" / "validated"
    for name in COLUMNS:
        (delivery / name).mkdir(parents=True)
        for stem, who in (("1", "17850.0"), ("2", "17851.0"), ("3", "a")):
            row = {"who": who, "at": pd.Timestamp(2024, 1, int(stem) + 3), "order": stem, "product": "p", "paid": 1.0}
            pd.DataFrame([row]).to_parquet(delivery / name / f"{stem}.parquet", index=False)
    sources = sources_of(delivery, "drop")
    rows, *_ = validated(sources, kept, FIRST, by_file=True)
    assert "'17850.0'" in rows["transactions"][0]
    for name in COLUMNS:
        (delivery / name / "3.parquet").unlink()
    with pytest.raises(Unfit):
        validated(sources, kept, FIRST, by_file=True)
    shutil.rmtree(kept)
    found = validated(sources, kept, FIRST, by_file=True)
    assert "'17850'" in found[0]["transactions"][0]
    assert found == validated(sources, tmp_path / "fresh" / "validated", FIRST, by_file=False)


def test_a_booking_has_the_table_made_from_nothing(tmp_path: Path) -> None:
    """What lies ahead today is an order tomorrow, and no file is kept that says so."""
    delivery, kept = tmp_path / "raw", tmp_path / "kept" / "validated"
    for name in COLUMNS:
        (delivery / name).mkdir(parents=True)
        for days in (0, 1, 5):
            row = {
                "who": "a",
                "at": pd.Timestamp(FIRST) + pd.Timedelta(days=days - 1),
                "order": str(days),
                "product": "p",
                "paid": 1.0,
            }
            pd.DataFrame([row]).to_parquet(delivery / name / f"{days}.parquet", index=False)
    sources = sources_of(delivery, "drop")
    booked = sources.model_copy(
        update={"transactions": [sources.tables["transactions"][0].model_copy(update={"bookings": True})]}
    )
    for today in (FIRST, FIRST + timedelta(days=1), FIRST + timedelta(days=9)):
        found = validated(booked, kept, today, by_file=True)
        assert found == validated(booked, tmp_path / "fresh" / "validated", today, by_file=False)
        assert index_path(kept, "transactions").exists() == (today > FIRST + timedelta(days=4))
