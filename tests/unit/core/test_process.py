from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from lapse.core.errors import Locked
from lapse.core.process import HELD, held, temporary_folder

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the stage on Linux only")


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *arguments], stdout=subprocess.PIPE, text=True)


def test_a_held_folder_names_its_holder_and_is_free_after_the_holder_was_killed(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from lapse.core.process import held
        with held(Path(sys.argv[1]), "score"):
            print("held", flush=True)
            time.sleep(60)
    """
    with python(code, str(tmp_path)) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with (
            pytest.raises(Locked, match=rf"score: another run .*process {holder.pid} on .*, since 20") as refused,
            held(tmp_path, "score"),
        ):
            pass
        with held(tmp_path, "train"):
            pass  # other outputs of the same folder
        holder.kill()
    assert refused.value.exit_code == 8
    with held(tmp_path, "score"):
        pass


def test_what_a_killed_run_left_is_removed_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = """
        import sys, time
        from lapse.core.process import temporary_folder
        with temporary_folder("spill") as folder:
            (folder / "customers").write_text("C1")
            print(folder, flush=True)
            time.sleep(60)
    """
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    runs = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    dead, alive = (Path((run.stdout.readline() if run.stdout else "").strip()) for run in runs)
    runs[0].kill()
    runs[0].wait()
    theirs = tmp_path / "lapse-not-ours"
    theirs.mkdir()
    linked, kept = tmp_path / "lapse-linked", tmp_path / "kept.txt"
    linked.mkdir()
    kept.write_text("kept", encoding="utf-8")
    (linked / HELD).symlink_to(kept)
    for folder in (dead, alive, theirs, linked):
        os.utime(folder, (0, 0))
    with temporary_folder("spill") as mine:
        left = [mine.name, alive.name, theirs.name, linked.name, kept.name]
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(left)
        assert (alive / HELD).exists() and kept.read_text(encoding="utf-8") == "kept", "a link is not followed"
    runs[1].kill()
    for run in runs:
        run.communicate()


@needs_linux
@pytest.mark.parametrize("shell", [False, True])
def test_a_stage_ends_when_the_process_that_started_it_is_killed(tmp_path: Path, shell: bool) -> None:
    stage = tmp_path / "stage.py"
    stage.write_text("""if True:
        import os, time
        from lapse.core.process import run
        def main():
            print(os.getpid(), flush=True)
            time.sleep(60)
        run(main)
    """)
    # The second word keeps the shell from becoming the stage itself.
    command = f"['sh', '-c', '{sys.executable} stage.py; true']" if shell else "[sys.executable, 'stage.py']"
    code = f"import subprocess, sys; subprocess.run({command}, cwd=sys.argv[1])"
    environment = {**os.environ, "DVC_STAGE": "train"}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as master:
        assert master.stdout is not None
        number = int(master.stdout.readline())
        master.send_signal(signal.SIGKILL)
        for _ in range(100):
            if not is_running(number):
                break
            time.sleep(0.1)
        assert not is_running(number)


@needs_linux
def test_a_stage_goes_on_when_only_the_thread_that_started_it_has_ended(tmp_path: Path) -> None:
    """As under a queue that runs DVC in threads."""
    (tmp_path / "stage.py").write_text("""if True:
        import time
        from lapse.core.process import run
        def main():
            time.sleep(1)
            print("done", flush=True)
        run(main)
    """)
    code = """if True:
        import subprocess, sys, threading
        started = []
        def start():
            started.append(subprocess.Popen([sys.executable, "stage.py"], cwd=sys.argv[1]))
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        sys.exit(started[0].wait())
    """
    environment = {**os.environ, "DVC_STAGE": "train"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def is_running(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
