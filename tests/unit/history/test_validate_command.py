"""The command line of the stage: one message on stderr and an exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = """  transactions:
    path: log.csv
    columns: {customer_id: who, ordered_at: at, amount: paid}
  events: null
  feedback: null
  customers: null
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    start, end = text.index("  transactions:\n"), text.index("# What churn means")
    (tmp_path / "params.yaml").write_text(text[:start] + SOURCES + "\n" + text[end:], encoding="utf-8")
    (tmp_path / "data" / "raw").mkdir(parents=True)
    return tmp_path


def run(stage: str, project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "pipelines" / f"{stage}.py")],
        cwd=project, capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def refuses(done: subprocess.CompletedProcess[str], code: int, message: str) -> None:
    assert done.returncode == code
    assert done.stderr.startswith("lapse: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_a_delivery_that_fits(project: Path) -> None:
    (project / "data/raw/log.csv").write_text("who,at,paid\na,2020-01-01,1\na,2020-01-01,1\nb,soon,1\n")
    done = run("validate", project)
    assert (done.returncode, done.stderr) == (0, "")
    assert "transactions: 3 rows in = 1 kept + 1 rejected + 1 duplicates" in done.stdout
    assert "ordered_at cannot be read as a timestamp (1 row, e.g. soon)" in done.stdout
    assert sorted(path.name for path in (project / "data").rglob("[!.]*.*")) == [
        "bookings.parquet", "contacts.parquet", "customers.parquet", "events.parquet", "feedback.parquet", "log.csv",
        "profile.json", "rejects.parquet", "subscriptions.parquet", "transactions.parquet", "usability.html", "usability.json",
    ]  # fmt: skip


def test_a_delivery_that_does_not(project: Path) -> None:
    refuses(run("validate", project), 3, "data/raw/log.csv is not there")
    (project / "data/raw/log.csv").write_bytes(b"PK\x03\x04" + bytes(range(256)) * 20)
    refuses(run("validate", project), 2, "the source has no column")
    assert not list((project / "data").rglob("*.parquet"))


def test_params_that_do_not(project: Path) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(
        text.replace("path: log.csv", "path: log.csv\n    derive: {order_id: getenv('HOME')}")
    )
    (project / "data/raw/log.csv").write_text("who,at,paid\na,2020-01-01,1\n")
    refuses(run("validate", project), 2, "sources.transactions.derive.order_id: 'getenv' is not allowed")


def test_a_database_that_does_not_answer(project: Path) -> None:
    text = (project / "params.yaml").read_text()
    url = "postgresql://me:${DB_PASSWORD}@127.0.0.1:1/db"
    landed = f"source: null\n  tables: {{log: {{url: '{url}', table: x}}}}"
    (project / "params.yaml").write_text(text.replace("source: complete_journey", landed))
    done = run("land", project, DB_PASSWORD="hunter22")
    refuses(done, 3, f"land.tables.log: {url} did not answer")
    assert "hunter22" not in done.stdout + done.stderr
    refuses(run("land", project), 2, "DB_PASSWORD is not set")
