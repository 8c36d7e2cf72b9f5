"""What a delivery says is shown, never obeyed: not by a terminal, not by markdown."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from lapse.core.errors import LapseError, sample_keys
from lapse.core.logging import log_to_console, stage_logger
from lapse.core.markdown import plain, table
from lapse.core.process import run
from lapse.core.tables.contract import Column, Table
from lapse.retention.output import write_table

EVIL = "C1\x1b[2J\x1b]0;gone\x07\u202e\x9b31m\rC2"
OBEYED = set("\x1b\x07\u202e\x9b\r")


def test_no_terminal_obeys_an_id(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_console()
    stage_logger("score").info(f"two lines:\n{EVIL}")

    def fail() -> None:
        raise LapseError(f"one row, e.g. {sample_keys([EVIL])}.")

    with pytest.raises(SystemExit):
        run(fail)
    told = capsys.readouterr()
    assert told.out.startswith("score: two lines:\nC1\\x1b[2J")
    assert not OBEYED & set(told.out + told.err)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("[click](javascript:alert(1))", r"\[click\]\(javascript:alert\(1\)\)"),
        ("![x](http://evil.example/p.png)", r"\!\[x\]\(http:&#47;&#47;evil.example/p.png\)"),
        ("<b>A & B</b>", "&lt;b&gt;A &amp; B&lt;/b&gt;"),
        ("a\n# b\\", r"a \# b\\"),
        ("Gold 10-20 kg", "Gold 10-20 kg"),
    ],
)
def test_no_markdown_comes_of_a_name(name: str, shown: str) -> None:
    assert plain(name) == shown
    assert table(("segment",), [(plain("a|b"),)]).endswith(r"| a\|b |")


def test_no_table_beside_the_pages_computes(tmp_path: Path) -> None:
    text = Column("segment", "text", "Who.")
    named = Table(
        "odd", "data/odd.parquet", "a row", ("segment",), (text, Column("n", "count", ""), Column("x", "number", ""))
    )
    rows = pd.DataFrame(
        {"segment": ["C1110;=1+1;", "C942\r=1+2", None, "plain"], "n": [1, 2, 3, None], "x": [0.1234567, None, 1e9, 2]}
    )
    write_table(rows, named, tmp_path)
    assert (tmp_path / "odd.csv").read_bytes() == (
        b'"segment","n","x"\n"C1110;\'=1+1;",1,0.123457\n"C942\r\'=1+2",2,\n"plain",,2\n,3,1000000000\n'
    )
    assert pq.read_table(tmp_path / "odd.parquet")["segment"].to_pylist() == ["C1110;=1+1;", "C942\r=1+2", "plain", None]
