"""Outputs appear whole or not at all, after a power cut too: written beside, forced to the disk, then renamed."""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lapse.core.errors import DataError, LapseError, first_line

AGAIN = "`dvc repro`"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the final name when the block ends, and is removed when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(finished: Path, path: Path) -> None:
    """Give a finished file its final name, in the same file system, so that a power cut leaves the old or the new one."""
    _to_disk(finished)
    # os.replace, not Path.replace: a test records the order of the two.
    os.replace(finished, path)  # noqa: PTH105
    _to_disk(path.parent)


def publish_folder(finished: Path, path: Path, *, aside: Path) -> None:
    """Give a finished folder its final name, all its files on the disk before; a folder of that name is replaced.

    Where the system can exchange two names at once, there is always one of the two. Else the old one first goes to
    `aside`, in the same file system: when a kill falls between, whoever starts next finds it there.
    """
    for part in sorted(finished.rglob("*")):
        _to_disk(part)
    _to_disk(finished)
    if path.exists():
        aside.parent.mkdir(parents=True, exist_ok=True)
        if _exchange(finished, path):
            os.replace(finished, aside)  # noqa: PTH105
        else:
            os.replace(path, aside)  # noqa: PTH105
            os.replace(finished, path)  # noqa: PTH105
    else:
        os.replace(finished, path)  # noqa: PTH105
    _to_disk(path.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step, as only Linux can, and not in every file system; return whether it was done."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    done: int = renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange)
    return done == 0


def write_text(path: Path, text: str) -> None:
    """Write a whole text file in UTF-8."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Write plain values as indented JSON, floats rounded to 6 decimals so that a diff can be read."""
    write_text(path, json.dumps(_rounded(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, again: str = AGAIN, *, error: type[LapseError] = DataError) -> Any:
    """Return the plain values of a JSON file of ours; `error` where it is damaged, with the command that makes it anew."""
    with intact(path, again, error=error):
        return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def intact(path: Path, again: str = AGAIN, *, error: type[LapseError] = DataError) -> Iterator[None]:
    """Raise `error` where a file of ours does not hold what a block looks for in it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as problem:
        what = f"it lacks {problem}" if isinstance(problem, KeyError) else first_line(problem)
        raise error(f"{path} is damaged ({what}). Make it anew: {again}.") from None


def prune(folder: Path, names: Iterable[object]) -> None:
    """Delete every `<name>.parquet` of a folder but those named."""
    wanted = set(map(str, names))
    for path in folder.glob("*.parquet"):
        if path.stem not in wanted:
            path.unlink()


def digest(*paths: Path) -> str:
    """Return the sha256 (hex) over the names and bytes of files."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(path.name.encode())
        total.update(bytes.fromhex(file_sha256(path)))
    return total.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file, as the command sha256sum prints it."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def text_sha256(text: str) -> str:
    """Return the sha256 (hex) of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def _rounded(content: Any) -> Any:
    if isinstance(content, float):
        return round(content, 6) if math.isfinite(content) else None
    if isinstance(content, dict):
        return {str(key): _rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_rounded(value) for value in content]
    return content


def _to_disk(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk. Windows knows no such thing for folders."""
    if path.is_dir() and os.name == "nt":
        return
    # Some systems force a file only through a handle that may write.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
