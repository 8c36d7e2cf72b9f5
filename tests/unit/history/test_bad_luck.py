"""What is no fault of the mapping is not told as one, and no single value takes the machine down."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter

from lapse.core.engine import open_duckdb
from lapse.core.errors import DataError, LapseError, SettingsError
from lapse.history.reading import joins
from lapse.history.validation.validate import DeliveryRefused
from tests.unit.history.history_cases import Validate

LINE = "who,at,paid\n"


def test_a_clock_turned_back_is_no_usual_delivery(folder: Path, run_validate: Validate) -> None:
    past = "".join(f"c{number},2020-01-01,1\n" for number in range(900))
    coming = "".join(f"c{number},2020-09-01,1\n" for number in range(150))
    (folder / "log.csv").write_text(LINE + past + coming)
    with pytest.raises(DeliveryRefused) as refused:
        run_validate(transactions={"path": "log.csv"})
    message = str(refused.value)
    assert "150 of 1,050 rows lie in the future" in message and "Check the clock of this machine" in message
    assert refused.value.exit_code == 3
    (folder / "log.csv").write_text(LINE + past + "c1,2020-09-01,1\n" * 40)
    assert run_validate(transactions={"path": "log.csv"}).reasons() == {}, "forty are bookings"
    assert run_validate(transactions={"path": "log.csv", "bookings": False}).reasons() == {
        "ordered_at lies in the future": 40
    }


def test_lines_after_today_are_bookings_and_leave_the_log_as_it_is(folder: Path, run_validate: Validate) -> None:
    past = "".join(f"c{number},2020-01-01,1\n" for number in range(20))
    (folder / "log.csv").write_text(LINE + past)
    alone = run_validate(transactions={"path": "log.csv"}).rows("transactions")
    coming = "c1,2020-09-01,1\nc1,2020-09-01,2\nc2,2020-08-01,1\nc3,2031-08-01,1\n"
    (folder / "log.csv").write_text(LINE + past + coming)
    for bookings in ("auto", True):
        found = run_validate(transactions={"path": "log.csv", "bookings": bookings})
        assert found.rows("transactions") == alone, "no line after today is in the log"
        assert "3 after today left out: bookings" in str(found.counts["transactions"])
        assert found.reasons() == {"ordered_at lies in the future": 1}, "nobody books for 2031"
        booked = pd.read_parquet(found.out / "bookings.parquet").astype(str).to_dict("records")
        assert booked == [
            {"customer_id": "c1", "booked_for": "2020-09-01"},
            {"customer_id": "c2", "booked_for": "2020-08-01"},
        ]


def outside(folder: Path) -> Path:
    path = folder.parent / "elsewhere.csv"
    path.write_text(LINE + "secret,2020-01-01,1\n")
    return path


def link(folder: Path) -> str:
    (folder / "log.csv").symlink_to(outside(folder))
    return "log.csv"


def link_to_a_folder(folder: Path) -> str:
    table = pa.table({"who": ["secret"], "at": ["2020-01-01"], "paid": [1.0]})
    (folder.parent / "elsewhere").mkdir()
    pq.write_table(table, folder.parent / "elsewhere" / "log.parquet")
    (folder / "parts").symlink_to(folder.parent / "elsewhere")
    return "parts/*.parquet"


@pytest.mark.parametrize("make", [link, link_to_a_folder])
def test_links_do_not_lead_out_of_the_folder(make: Callable[[Path], str], folder: Path, run_validate: Validate) -> None:
    path = make(folder)
    with pytest.raises(SettingsError, match=r"is a link that leads outside sources.folder") as refused:
        run_validate(transactions={"path": path})
    assert "secret" not in str(refused.value)


def test_links_within_the_folder_and_into_the_cache_are_followed(folder: Path, run_validate: Validate) -> None:
    cached = folder.parent / "cache" / "files" / "md5" / "0f" / "12"
    cached.parent.mkdir(parents=True)
    outside(folder).rename(cached)
    (folder / "landed.csv").symlink_to(cached)
    (folder / "log.csv").symlink_to("landed.csv")
    assert run_validate(transactions={"path": "log.csv"}).numbers() == (1, 1, 0, 0)


def test_a_line_with_thousands_of_keys_is_one_broken_line(folder: Path, run_validate: Validate) -> None:
    good = {"who": "a", "at": "2020-01-01", "paid": 1}
    odd = good | {f"k{number}": 1 for number in range(5_000)}
    lines = [json.dumps(good | {"who": f"c{number}"}) for number in range(1_200)]
    (folder / "log.jsonl").write_text("\n".join([*lines, json.dumps(odd)]))
    assert run_validate(transactions={"path": "log.jsonl"}).numbers() == (1_201, 1_200, 1, 0)
    lines = [json.dumps(good | {f"k{number}_{key}": 1 for key in range(10)}) for number in range(200)]
    (folder / "log.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match="have 2,003 different keys"):
        run_validate(transactions={"path": "log.jsonl"})


def test_a_stray_cell_in_the_last_column(folder: Path, run_validate: Validate) -> None:
    with xlsxwriter.Workbook(folder / "log.xlsx") as book:
        sheet = book.add_worksheet()
        for row, cells in enumerate((("who", "at", "paid"), ("a", "2020-01-01", 1))):
            sheet.write_row(row, 0, cells)
        sheet.write_string(1_048_575, 16_383, "stray")
    with pytest.raises(DataError, match="has a cell in column XFD, and lapse reads up to column ZZ"):
        run_validate(transactions={"path": "log.xlsx"})


def test_a_join_without_end_is_refused_before_it_is_made(
    folder: Path, run_validate: Validate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joins, "MOST_ADDED", 1_000)
    (folder / "log.csv").write_text(LINE + "".join(f"a,2020-01-01,{number}\n" for number in range(50)))
    (folder / "more.csv").write_text("who,note\n" + "".join(f"a,{number}\n" for number in range(500)))
    with pytest.raises(
        DataError, match=r"the 50 rows before it would become 25,000, .* for a key, e.g. a\. Name the columns"
    ):
        run_validate(transactions={"path": "log.csv", "joins": [{"path": "more.csv", "on": ["who"]}]})


@pytest.mark.parametrize(("zone", "read"), [(None, "2020-01-01 23:30:00"), ("UTC", "2020-01-02 00:30:00")])
def test_the_times_beside_one_out_of_range_are_what_they_were(
    zone: str | None, read: str, folder: Path, run_validate: Validate
) -> None:
    moments = pa.array([1577921400123, None, (1 << 63) - 2]).cast(pa.timestamp("ms", zone))
    pq.write_table(pa.table({"who": ["a", "b", "c"], "at": moments, "paid": [1.0, 2.0, 3.0]}), folder / "log.parquet")
    found = run_validate(
        business_timezone="Europe/Berlin", transactions={"path": "log.parquet", "timezone": "Europe/Berlin"}
    )
    assert [str(at)[:19] for (at,) in found.rows(columns="ordered_at")] == [read]
    assert [reject.values for reject in found.counts["transactions"].rejects if reject.values] == [
        ("beyond any calendar: 9223372036854775806",)
    ]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_a_time_out_of_range_is_one_reject(unit: str, folder: Path, run_validate: Validate) -> None:
    far = (1 << 63) - 2
    times = pa.array([int(datetime(2020, 1, 1).timestamp()) * {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit], far])  # noqa: DTZ001
    table = pa.table({"who": ["a", "b"], "at": times.cast(pa.timestamp(unit)), "paid": [1.0, 2.0]})
    pq.write_table(table, folder / "log.parquet", coerce_timestamps=None)
    assert run_validate(transactions={"path": "log.parquet"}).numbers() == (2, 1, 1, 0)


def test_the_limit_of_memory_holds_for_deliveries_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSE_MEMORY_LIMIT", "nonsense")
    with pytest.raises(SettingsError, match="LAPSE_MEMORY_LIMIT"), open_duckdb():
        pass
    monkeypatch.setenv("LAPSE_MEMORY_LIMIT", "1GiB")
    with open_duckdb() as engine:
        assert engine.connection.execute("SELECT current_setting('memory_limit')").fetchall() == [("1.0 GiB",)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("a small disk can be mounted by root only")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("options", ["size=200k", "size=400k", "nr_inodes=3"])
def test_a_full_disk_is_told_as_a_full_disk(
    options: str, small_disk: Callable[[str], Path], folder: Path, tmp_path: Path
) -> None:
    disk = small_disk(options)
    lines = "".join(f"c{number * 7919 % 100_003},2020-01-01,{number}.5\n" for number in range(150_000))
    (folder / "log.csv").write_text(LINE + lines)
    code = """
        import sys
        from datetime import date
        from pathlib import Path
        from lapse.core.engine import open_duckdb
        from lapse.core.source_settings import Sources
        from lapse.core.process import run
        from lapse.history.validation.validate import validate
        from tests.unit.history.history_cases import COLUMNS, TABLES
        shape = {"folder": sys.argv[1], "until": None, "earliest": "1990-01-01", "max_reject_share": 1.0}
        table = {"path": "log.csv", "columns": COLUMNS["transactions"]}
        sources = Sources.model_validate(shape | dict.fromkeys(TABLES) | {"transactions": table})
        def main():
            with open_duckdb() as engine:
                validate(engine, sources, "UTC", Path(sys.argv[2]) / "validated", Path(sys.argv[2]) / "u.json", date(2020, 6, 30))
        run(main)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(folder), str(disk)], capture_output=True, text=True, check=False
    )
    assert done.returncode == LapseError.exit_code, done.stderr
    assert "No space left on device" in done.stderr and "free space" in done.stderr
    assert "Traceback" not in done.stderr and "mapping" not in done.stderr
    assert not list(disk.rglob("*.parquet"))
