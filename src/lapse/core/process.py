"""What a run holds of the machine: no two runs write to one folder, none outlives its master, and the dead leave nothing.

DVC runs a stage as a process of its own. When DVC alone is killed (by the kernel, short of memory), the stage would go on
and write beside the next run; so a stage ends with the process that started it.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from lapse.core.errors import LapseError, Locked, unusable
from lapse.core.logging import log_to_console, shown

PREFIX = "lapse-"
"""Temporary folders begin with this."""
HELD = ".held"
"""The file in a temporary folder that its process keeps locked."""
GRACE_SECONDS = 60
"""A temporary folder as young as this may be about to be locked."""
SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "busybox")


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main`, and end the process with one message and an exit code instead of a traceback.

    Where DVC runs it, the stage ends with DVC; and no stage runs twice at a time in a workspace.
    """
    log_to_console()
    if "DVC_STAGE" in os.environ:
        end_with_master()
    try:
        with held(Path("data"), f"stage-{Path(sys.argv[0]).stem}"):
            main()
    except LapseError as error:
        print(shown(f"lapse: {error}"), file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        print(f"lapse: {unusable(error)}", file=sys.stderr)
        sys.exit(LapseError.exit_code)


@contextmanager
def held(folder: Path, name: str) -> Iterator[None]:
    """Hold a folder's outputs for this process; the lock ends with its process, however that ends.

    `name` says which outputs: `score` is another lock than `train`. Locked names who holds them and since when.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / f".lapse-{name}.holder"
    lock = FileLock(folder / f".lapse-{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Locked(f"{name}: another run is writing to {folder}{_who(holder)}. Wait for it to end, or end it.") from None
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {since}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def held_since(folder: Path, name: str) -> datetime | None:
    """Return since when another run has held a folder's outputs; None where none does, or it does not say."""
    try:
        return datetime.fromisoformat((folder / f".lapse-{name}.holder").read_text(encoding="utf-8").rpartition("since ")[2])
    except (OSError, ValueError):
        return None


def _who(holder: Path) -> str:
    try:
        return f" ({holder.read_text(encoding='utf-8')[:200]})"
    except (OSError, UnicodeDecodeError):
        return ""


@contextmanager
def temporary_folder(kind: str) -> Iterator[Path]:
    """Yield a temporary folder, and remove it after the block; those that killed runs of ours left are removed first."""
    from filelock import FileLock

    _sweep(Path(gettempdir()))
    with TemporaryDirectory(prefix=f"{PREFIX}{kind}-", ignore_cleanup_errors=True) as name, FileLock(Path(name) / HELD):
        yield Path(name)


def _sweep(where: Path) -> None:
    """Remove the temporary folders whose process is gone. What belongs to somebody else stays."""
    from filelock import FileLock, Timeout

    for folder in where.glob(f"{PREFIX}*"):
        try:
            found, mark = folder.lstat(), folder / HELD
            young = time.time() - found.st_mtime < GRACE_SECONDS
            # Everybody may write to the temporary folder, links too: only what this user made is opened.
            ours = stat.S_ISDIR(found.st_mode) and (not hasattr(os, "getuid") or found.st_uid == os.getuid())
            if young or not ours or mark.is_symlink() or not mark.is_file():
                continue
            with FileLock(folder / HELD, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue


def end_with_master() -> None:
    """End this process when the one that started it ends; a shell between the two is looked through."""
    threading.Thread(target=_watch, args=(_masters(),), name="lapse-master", daemon=True).start()


def _watch(masters: tuple[int, ...]) -> None:
    """Wait until one of the masters ends: on Linux by a handle on each process, elsewhere by a look every second.

    The kernel could send a signal instead (PR_SET_PDEATHSIG), but it does so when the thread ends that started this
    process, although the process of that thread goes on.
    """
    try:
        handles = [os.pidfd_open(master) for master in masters]
    except (AttributeError, OSError):
        # No Linux, or it is gone already, which the first look tells.
        while _masters() == masters:
            time.sleep(1)
    else:
        waiting = select.poll()
        for handle in handles:
            waiting.register(handle, select.POLLIN)
        # Whoever ended before the handle was opened may have left its number to another process.
        if _masters() == masters:
            waiting.poll()
    os.write(2, b"lapse: the process that started this stage is gone, so the stage ends, too.\n")
    os._exit(1)


def _masters() -> tuple[int, ...]:
    """Return the parent's process id; and the one above, where the parent is a shell that was started for one command."""
    parent = os.getppid()
    try:
        command = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
        # After the name, which stands in brackets and may hold anything: state, then the parent.
        above = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return (parent,)
    is_shell = Path(os.fsdecode(command[0])).name.lstrip("-") in SHELLS
    return (parent, above) if is_shell and b"-c" in command[1:5] else (parent,)
