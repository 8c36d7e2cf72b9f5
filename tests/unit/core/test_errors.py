"""What a person reads where the machine, not the data, is at fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lapse.core.errors import LapseError
from lapse.core.process import run


def _raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LapseError("no list yet. Run `dvc repro`."), "lapse: no list yet. Run `dvc repro`.\n"),
        (ConnectionRefusedError(111, "Connection refused"),
         "lapse: a connection broke ([Errno 111] Connection refused). A database, a tracking server or Spark ended; its "
         "last messages stand above.\n"),
    ],
)  # fmt: skip
def test_a_stage_ends_with_one_message_that_names_what_failed(
    error: BaseException, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(_raising(error))
    assert (ended.value.code, capsys.readouterr().err) == (1, message)


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(lambda: (tmp_path / "gone.csv").read_text() and None)
    assert f"{tmp_path / 'gone.csv'} cannot be used (No such file or directory)" in capsys.readouterr().err
