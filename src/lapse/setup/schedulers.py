"""Files for whatever starts the night: all of them start scheduler/night.sh, which holds the steps."""

from __future__ import annotations

import getpass
import re
import shlex
import sys
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from lapse import __version__
from lapse.core.errors import SettingsError

Scheduler = Literal["systemd", "cron", "airflow", "kubernetes", "container", "github", "gitlab"]
NIGHT = "scheduler/night.sh"
TEMPLATES = resources.files("lapse") / "setup" / "schedulers"
OWN_FILES: Mapping[Scheduler, Mapping[str, str]] = {
    "systemd": {"scheduler/lapse.service": "lapse.service", "scheduler/lapse.timer": "lapse.timer"},
    "cron": {"scheduler/crontab": "crontab"},
    "airflow": {"scheduler/lapse_dag.py": "lapse_dag.py"},
    "kubernetes": {"scheduler/Containerfile": "Containerfile", "scheduler/cronjob.yaml": "cronjob.yaml"},
    "container": {"scheduler/Containerfile": "Containerfile"},
    "github": {".github/workflows/lapse.yml": "github.yml"},
    "gitlab": {".gitlab-ci.yml": "gitlab.yml"},
}
"""Path in the workspace -> name of the template."""
NEXT: Mapping[Scheduler, str] = {
    "systemd": "sudo cp scheduler/lapse.service scheduler/lapse.timer /etc/systemd/system/ && sudo systemctl enable --now "
    "lapse.timer",
    "cron": "crontab -e, and add the line of scheduler/crontab",
    "airflow": "cp scheduler/lapse_dag.py into Airflow's dags folder",
    "kubernetes": "build scheduler/Containerfile, then kubectl apply -f scheduler/cronjob.yaml",
    "container": "podman build -f scheduler/Containerfile -t lapse .",
    "github": "git push, with a runner of your own that has the label lapse",
    "gitlab": "git push, with a runner of your own that has the tag lapse, and a pipeline schedule",
}


def scheduler_files(
    workspace: Path, scheduler: Scheduler | None, known: Collection[str], *, timezone: str, lands: bool
) -> dict[str, str]:
    """Return the files of a scheduler, and of those whose files are `known` from before, by their path.

    `lands`: whether sources are copied from elsewhere before anybody is scored. SettingsError for a folder whose name no
    scheduler's file can hold.
    """
    chosen = [one for one in get_args(Scheduler) if one == scheduler or set(OWN_FILES[one]) <= set(known)]
    if not chosen:
        return {}
    folder = workspace.resolve()
    if not str(folder).isprintable():
        raise SettingsError(f"--scheduler: the path {str(folder)!r} holds characters that no scheduler's file can hold.")
    values = _values(folder, timezone=timezone, lands=lands)
    wanted = {NIGHT: "night.sh", **{path: name for one in chosen for path, name in OWN_FILES[one].items()}}
    return {path: _filled(name, values) for path, name in wanted.items()}


def _filled(name: str, values: Mapping[str, str]) -> str:
    text = (TEMPLATES / f"{name}.template").read_text(encoding="utf-8")
    return re.sub("@([A-Z_]+)@", lambda found: values[found.group(1)], text)


def _values(folder: Path, *, timezone: str, lands: bool) -> dict[str, str]:
    """Return what stands in the templates, quoted as each kind of file asks for."""
    night, program = folder / NIGHT, Path(sys.executable).parent / "lapse"
    land = f"{shlex.quote(sys.executable)} -m dvc repro --quiet land || exit; " if lands else ""
    return {
        # As the name of a CronJob, which may have 52 characters, and of a DAG.
        "NAME": re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:40].strip("-") or "shop",
        "VERSION": __version__, "USER": getpass.getuser(), "TIMEZONE": timezone,
        "LAPSE": re.sub(r'([\\"$`}])', r"\\\1", str(program)), "LAND": land,
        "SHELL_NIGHT": shlex.quote(str(night)), "PYTHON_NIGHT": repr(shlex.quote(str(night))),
        "CRON_NIGHT": _cron(night), "CRON_LOG": _cron(folder / "scheduler" / "night.log"),
        "SYSTEMD_NIGHT": _systemd(night, "$$"), "SYSTEMD_WORKSPACE": _systemd(folder, "$"),
    }  # fmt: skip


def _cron(path: Path) -> str:
    return shlex.quote(str(path)).replace("%", r"\%")


def _systemd(path: Path, dollar: str) -> str:
    """Return a path in systemd's quotes; `dollar`: what a $ is written as."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", dollar)
    return f'"{text}"'
