"""Command init: a folder with all that `dvc repro` needs, from the installed package alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from lapse import __version__
from lapse.core.errors import DataError, LapseError, SettingsError
from lapse.core.files import intact, read_json, text_sha256, write_json, write_text
from lapse.core.logging import shown
from lapse.core.settings import load_settings
from lapse.core.tables.contract import nearest
from lapse.history.reading.sources import files_there
from lapse.setup.mapping import propose
from lapse.setup.order_lines import PRESETS, preset
from lapse.setup.params_file import dump_commented, load_commented, write_settings
from lapse.setup.proposal import Proposal
from lapse.setup.schedulers import NEXT, Scheduler, scheduler_files

STATE = "lapse.json"
DELIVERY = "delivery.dvc"
"""Tells DVC to keep the delivery. It stands at the top, since DVC does not look into folders that git ignores."""
STATE_AGAIN = f"`git checkout -- {STATE}`"
IGNORED = """\
__pycache__/
/mlflow.db
/mlartifacts/
/nightly/
/scheduler/secrets.env
/scheduler/night.log
/exports.jsonl
/serve-tokens
# Outputs of the pipeline and your deliveries: DVC and you hold them, git does not.
/data/*
!/data/README.md
!/data/reports/
/data/reports/*
!/data/reports/metrics.json
!/data/reports/retention.json
!/data/reports/value.json
!/data/reports/summary.json
!/data/reports/crr.json
!/data/reports/pictures/
/models/*
!/models/README.md
!/models/promotions.jsonl
"""
README = """\
# A lapse workspace

Who is about to stop buying, why, and whom to reach. Made by `lapse init`, lapse {version}.

1. Put your tables into `{folder}`. `lapse mapping --write` says in `params.yaml`, section sources, which of your columns
   is which of ours (`data/README.md` lists ours): read it, and correct it.
2. `lapse check` says whether they can support a churn model, and how to set it up; `--write` puts its windows into params.
3. `dvc repro` makes the ranked list: open `data/lists/at_risk.xlsx`, or run `lapse at-risk`.

Try something out: `dvc exp run -S churn.horizon_days=60` and `dvc exp show --only-changed`; several at once:
`dvc exp run --queue -S …`, then `dvc queue start`. `dvc metrics diff` compares with the last commit: after a run that
counts, `git add -A && git commit`. DVC keeps a copy of `{folder}` for this ({tracked}); each run in this folder brings it
up to date, and only then do a queued run and one with `--temp` see new files.

`dvc repro` again does only what changed. Should a killed run leave an empty `dvc.lock`, delete
that file. `lapse score` scores with the model at hand, without DVC, for a scheduler, whose files `lapse init . --scheduler
systemd` writes (or cron, airflow, kubernetes, container, github, gitlab).
After an upgrade of lapse, run `lapse init .` here: it says what changed and renews the files that you did not edit.
"""


def init(folder: Path, source: str | None, delivery: str | None, scheduler: Scheduler | None = None) -> list[str]:
    """Make or renew a workspace, with the files of a scheduler, and return what was done.

    Files of an existing workspace that were not edited are replaced, edited ones stay and are named, params.yaml is
    never touched. SettingsError for an unknown source, LapseError for a folder that holds other things.
    """
    sources = sorted(path.name.removesuffix(".yaml") for path in PRESETS.iterdir() if path.name.endswith(".yaml"))
    if source is not None and source not in sources:
        raise SettingsError(f"--source {source!r} is not known. {nearest(source, sources)}")
    state = read_json(folder / STATE, STATE_AGAIN) if (folder / STATE).exists() else None
    if (
        state is None
        and folder.exists()
        and any(path.name not in (".git", ".dvc", ".dvcignore") for path in folder.iterdir())
    ):
        raise LapseError(f"{folder} is not empty and no workspace of lapse. Choose another folder.")
    with intact(folder / STATE, STATE_AGAIN):
        done = [] if state is None else _what_changed(str(state["lapse"]))
        known = {} if state is None else dict(state["files"])
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "params.yaml").exists():
        write_text(folder / "params.yaml", params_of(source, delivery))
        done.append("params.yaml: every setting, with a comment")
        if source is None and delivery is not None and (folder / delivery).is_dir():
            done += _map_what_is_there(folder, Path(os.path.normpath(folder / delivery)))
    settings = load_settings(folder / "params.yaml")
    lands = bool(settings.land.tables)
    files = _files(settings.sources.folder, lands_tables=lands) | scheduler_files(
        folder, scheduler, known, timezone=settings.business_timezone, lands=lands or settings.land.source is not None
    )
    done += _write_files(folder, files, state)
    if not Path(settings.sources.folder).is_absolute():
        (folder / settings.sources.folder).mkdir(parents=True, exist_ok=True)
    if _is_tracked(settings.sources.folder) and not (folder / DELIVERY).exists():
        # Without it a queued experiment, which runs in a copy of what git and DVC hold, would find no delivery.
        write_text(folder / DELIVERY, f"outs:\n- path: {settings.sources.folder}\n  hash: md5\n")
        done.append(f"{DELIVERY}: DVC keeps a copy of {settings.sources.folder} for queued experiments")
    done += [f"{scheduler}: {NEXT[scheduler]}"] if scheduler else []
    return done + _set_up_dvc(folder)


def _map_what_is_there(folder: Path, delivery: Path) -> list[str]:
    """Write into params.yaml what the delivered files are taken for, and return it in words."""
    if not files_there(delivery):
        return [f"params.yaml: no mapping yet, since {delivery} holds no file. Put yours there, then: lapse mapping --write"]
    try:
        proposal = propose(delivery)
    except DataError as error:
        # The workspace is made all the same: better files can come later.
        return [shown(f"params.yaml: no mapping is proposed. {error}")]
    # It holds names and values of the delivery: a terminal is not to obey them.
    said = shown(str(proposal))
    if proposal.is_usable:
        write_mapping(folder / "params.yaml", proposal)
        return [said, "params.yaml: sources as above, told from the names of the columns. Look at them."]
    return [said, "params.yaml: nothing of this is written, since no file could be taken for transactions."]


def write_mapping(params: Path, proposal: Proposal) -> None:
    """Write a proposal into a params.yaml: the tables, what churn is, and what a person wants to see on the lists.

    Another churn.mode than lapse, with which params begin, is somebody's choice: it stays.
    """
    values: dict[str, Any] = {f"sources.{name}": value for name, value in proposal.sources().items()}
    if load_settings(params).churn.mode == "lapse":
        values |= proposal.of_contracts
    if proposal.for_eyes:
        values["lists.columns"] = proposal.for_eyes
    if proposal.email:
        values["lists.contact"] = {"email": proposal.email}
    write_settings(params, values)


def _is_tracked(delivery: str) -> bool:
    """Whether the delivery lies inside the workspace and is no output of a stage."""
    path = PurePosixPath(delivery)
    inside = not path.is_absolute() and ".." not in path.parts and path.parts != ()
    return inside and path.parts[:2] != ("data", "raw")


def params_of(source: str | None, delivery: str | None) -> str:
    """Return the text of a params.yaml: the repository's, with a known source's own sections laid over."""
    params = load_commented(_packaged("params.yaml"))
    for section, values in (preset(source) if source else OWN).items():
        if not isinstance(values, Mapping):
            params[section] = values
            continue
        for key, value in values.items():
            params[section][key] = value
    if delivery is not None:
        params["sources"]["folder"] = delivery
    # What our own params say about Complete Journey is not true of other data.
    text = dump_commented(params)
    return text if source == "complete_journey" else text.replace(f" {OF_COMPLETE_JOURNEY}", "")


OF_COMPLETE_JOURNEY = "The timestamps of Complete Journey are UTC: its weeks turn at 05:00."
OWN: dict[str, Any] = {
    "business_timezone": "UTC",
    "land": {"source": None},
    "sources": {
        "folder": "data/delivery",
        "transactions": {
            "path": "transactions.csv",
            "columns": {"customer_id": "customer_id", "ordered_at": "ordered_at", "amount": "amount"},
        },
        "events": None,
        "feedback": None,
        "customers": None,
    },
    "features": {"responses": {}},
}
"""What a workspace without a known source begins with: the least that a delivery needs, under our own names."""


def _files(delivery: str, *, lands_tables: bool) -> dict[str, str]:
    """Return the files of a workspace by their path."""
    stages = [path for path in _packaged_folder("pipelines").iterdir() if path.name.endswith(".py")]
    return {
        **{
            f"pipelines/{path.name}": path.read_text(encoding="utf-8") for path in sorted(stages, key=lambda path: path.name)
        },
        "pipelines/own_features/README.md": _packaged("pipelines/own_features/README.md"),
        "dvc.yaml": _pipeline(_packaged("dvc.yaml"), lands_tables=lands_tables),
        "data/README.md": _dictionary(),
        ".gitignore": IGNORED,
        "README.md": README.format(
            version=__version__, folder=delivery, tracked=DELIVERY if _is_tracked(delivery) else "not: it lies elsewhere"
        ),
    }


def _pipeline(text: str, *, lands_tables: bool) -> str:
    """Return the repository's dvc.yaml for a workspace: lapse is installed there, so stages depend on its version."""
    text = re.sub(r"(      - src/lapse/\S+\n)+", f"      - {STATE}\n", text)
    text = re.sub(
        r"^# deps name .*\n", f"# {STATE} holds the version of lapse: another one reruns the stages.\n", text, flags=re.M
    )
    if lands_tables:
        # Only the stage itself can tell whether a table elsewhere has changed; it keeps what did not.
        text = text.replace("  land:\n", "  land:\n    always_changed: true\n")
    return text


def _write_files(folder: Path, files: Mapping[str, str], state: Mapping[str, Any] | None) -> list[str]:
    """Write the files that are new or not edited, and return which were renewed and which stay."""
    done, new_ones = [], []
    written = dict(state["files"]) if state else {}
    for name, text in files.items():
        path, new = folder / name, text_sha256(text)
        there = text_sha256(path.read_text(encoding="utf-8")) if path.exists() else None
        if there is not None and there not in (new, written.get(name)):
            done.append(f"{name}: kept, because you edited it; the new one is beside it as {name}.new")
            write_text(folder / f"{name}.new", text)
            continue
        if there != new:
            write_text(path, text)
            if there is None:
                new_ones.append(name)
            else:
                done.append(f"{name}: renewed")
        written[name] = new
    write_json(folder / STATE, {"lapse": __version__, "files": dict(sorted(written.items()))})
    shown_as = list(dict.fromkeys(f"{name.split('/')[0]}/" if "/" in name else name for name in new_ones))
    return [f"written: {', '.join(shown_as)}", *done] if new_ones else done


def _what_changed(before: str) -> list[str]:
    """Return the changelog since the version that a workspace was made with."""
    if before == __version__:
        return [f"already a workspace of lapse {__version__}"]
    lines = _packaged("CHANGELOG.md").splitlines()
    until = next((number for number, line in enumerate(lines) if line.startswith(f"## {before}")), len(lines))
    return [f"lapse {before} -> {__version__}:", *(line for line in lines[:until] if line.startswith("- "))]


def _set_up_dvc(folder: Path) -> list[str]:
    """Initialise git and DVC where they are not, make the first commit that experiments need, and return what was done."""
    done = []
    has_git = shutil.which("git") is not None
    if has_git and not _runs(folder, "git", "rev-parse", "--git-dir"):
        _run(folder, "git", "init", "--quiet")
        done.append("git: initialised")
    own = has_git and (folder / ".git").exists()
    if not (folder / ".dvc").exists():
        _run(
            folder, sys.executable, "-m", "dvc", "init", "--quiet",
            *([] if own else ["--subdir"] if has_git else ["--no-scm"]),
        )  # fmt: skip
        _run(folder, sys.executable, "-m", "dvc", "config", "core.analytics", "false")
        done.append("DVC: initialised")
    if not has_git:
        return [*done, "git is not installed: dvc repro runs, experiments (dvc exp) and dvc metrics diff do not"]
    if own and not _runs(folder, "git", "rev-parse", "--verify", "--quiet", "HEAD"):
        _first_commit(folder)
        done.append("git: first commit, which experiments need (dvc exp run)")
    elif not _runs(folder, "git", "diff", "--quiet", "HEAD", "--", ".") or _untracked(folder):
        done.append("git: commit what changed before the first experiment: git add -A . && git commit")
    return done


def _first_commit(folder: Path) -> None:
    """Commit all that git does not ignore, as nobody in particular where git does not know who works here."""
    known = _runs(folder, "git", "var", "GIT_COMMITTER_IDENT") and _runs(folder, "git", "config", "user.email")
    nobody = [] if known else ["-c", "user.name=lapse init", "-c", "user.email=lapse@localhost"]
    _run(folder, "git", "add", "--all", ".")
    _run(folder, "git", *nobody, "-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify", "-m", "lapse init")


def _untracked(folder: Path) -> bool:
    done = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard", "."], cwd=folder, capture_output=True, text=True, check=False
    )
    return bool(done.stdout.strip())


def _run(folder: Path, *words: str) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LapseError(f"init: {' '.join(words[-3:])} failed in {folder}: {done.stderr.strip() or done.stdout.strip()}")


def _runs(folder: Path, *words: str) -> bool:
    return subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode == 0


def _packaged_folder(name: str) -> Any:
    """Return a file or folder of the repository, in the installed package or, in a checkout, beside it."""
    packaged = resources.files("lapse") / "setup" / "repository" / name
    return packaged if packaged.is_dir() or packaged.is_file() else Path(__file__).resolve().parents[3] / name


def _packaged(name: str) -> str:
    text: str = _packaged_folder(name).read_text(encoding="utf-8")
    return text


def _dictionary() -> str:
    from lapse.pages import data_dictionary

    return data_dictionary()
