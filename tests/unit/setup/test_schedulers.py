"""The files that start the night, checked by whatever reads them, for a folder whose name is awkward."""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from lapse.core.errors import SettingsError
from lapse.setup import init as setting_up
from lapse.setup.schedulers import NEXT, OWN_FILES, Scheduler, scheduler_files

AWKWARD = "Ann's shop 100% $HOME"
RECORDING = """#!/bin/sh
echo "$@ $DB_PASSWORD" >> {log}
[ "$1" = "$FAILING" ] && exit 6
exit 0
"""


@pytest.fixture(params=get_args(Scheduler))
def scheduler(request: pytest.FixtureRequest) -> Any:
    return request.param


def written(folder: Path, scheduler: Scheduler, *, lands: bool = False) -> dict[str, str]:
    files = scheduler_files(folder, scheduler, (), timezone="Europe/Oslo", lands=lands)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return files


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / AWKWARD
    folder.mkdir()
    return folder


def yaml(path: Path) -> list[Any]:
    return list(YAML(typ="safe").load_all(path.read_text(encoding="utf-8")))


def run_night(command: list[str] | str, folder: Path, **environment: str) -> tuple[int, list[str]]:
    """Start the night with a lapse that only takes note of what it is asked for, and return exit code and notes."""
    log, program = folder.parent / "log", folder.parent / "lapse"
    log.unlink(missing_ok=True)
    program.write_text(RECORDING.format(log=shlex.quote(str(log))))
    program.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LAPSE")}
    done = subprocess.run(command, shell=isinstance(command, str), cwd="/", check=False, capture_output=True, text=True,
                          env=clean | {"LAPSE": str(program)} | environment)  # fmt: skip
    return done.returncode, log.read_text().splitlines() if log.exists() else [done.stderr]


def test_every_scheduler_starts_the_same_night(scheduler: Scheduler, workspace: Path) -> None:
    files = written(workspace, scheduler)
    assert set(files) == {"scheduler/night.sh", *OWN_FILES[scheduler]} and scheduler in NEXT
    assert not any("@" in line.split("#")[0].replace('"$@"', "") for text in files.values() for line in text.splitlines())
    assert subprocess.run(["sh", "-n", workspace / "scheduler/night.sh"], check=False).returncode == 0


def test_the_night_runs_its_steps_and_ends_with_the_code_of_the_one_that_failed(workspace: Path) -> None:
    written(workspace, "cron")
    night = ["/bin/sh", str(workspace / "scheduler/night.sh")]
    assert run_night(night, workspace) == (0, ["score ", "monitor "])
    assert run_night([*night, "publish"], workspace, LAPSE_PUBLISH_URL="x") == (0, ["publish "])
    assert run_night(night, workspace, FAILING="score") == (6, ["score "])
    assert run_night(night, workspace, FAILING="monitor")[0] == 0, "the lists are published all the same"
    assert run_night([*night, "scroe"], workspace)[0] == 2
    secrets = workspace / "scheduler/secrets.env"
    secrets.write_text("LAPSE_PUBLISH_URL='sqlite:///crm.db'\nDB_PASSWORD='a b$c'\n")
    secrets.chmod(0o600)
    assert run_night(night, workspace) == (0, ["score a b$c", "publish a b$c", "monitor a b$c"])
    for mode in (0o644, 0o640, 0o620, 0o602):
        secrets.chmod(mode)
        code, [said] = run_night(night, workspace)
        assert code == 2 and "others may read or change scheduler/secrets.env. chmod 600" in said
    written(workspace, "cron", lands=True)
    assert "-m dvc repro --quiet land || exit;" in (workspace / "scheduler/night.sh").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_takes_its_units(workspace: Path) -> None:
    written(workspace, "systemd")
    units = [workspace / "scheduler" / name for name in ("lapse.service", "lapse.timer")]
    done = subprocess.run(["systemd-analyze", "verify", *units], check=False, capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "lapse" in line]
    assert done.returncode == 0 and ours == [], done.stderr
    timer = next(line for line in units[1].read_text().splitlines() if line.startswith("OnCalendar"))
    when = subprocess.run(
        ["systemd-analyze", "calendar", timer.partition("=")[2]], check=False, capture_output=True, text=True
    )
    assert when.returncode == 0 and "03:30:00 Europe/Oslo" in when.stdout


def test_crons_line_starts_the_night(workspace: Path) -> None:
    written(workspace, "cron")
    line = (workspace / "scheduler/crontab").read_text().splitlines()[-1]
    *times, command = line.split(" ", 5)
    assert times == ["30", "3", "*", "*", "*"]
    # cron ends a command at a bare %, and hands over an escaped one as it is.
    assert command.count("%") == command.count(r"\%") == 2
    assert run_night(command.replace(r"\%", "%"), workspace) == (0, ["score ", "monitor "])
    assert (workspace / "scheduler/night.log").exists()


def test_airflows_dag_runs_the_steps_in_order(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow is no package of ours: a stand-in takes note of what the file declares."""
    made: list[Any] = []

    class Dag:
        def __init__(self, **given: Any) -> None:
            self.given = given

        def __enter__(self) -> Dag:
            made.append(self)
            return self

        def __exit__(self, *_: object) -> None:
            pass

    class Operator(SimpleNamespace):
        def __rshift__(self, other: Operator) -> Operator:
            self.then = other
            return other

    for name, content in {
        "pendulum": {"datetime": lambda *day, tz: (day, tz), "duration": lambda **given: given},
        "airflow.sdk": {"DAG": Dag}, "airflow.providers.standard.operators.bash": {"BashOperator": Operator},
    }.items():  # fmt: skip
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
        for parent in [name.rsplit(".", up)[0] for up in range(1, name.count(".") + 1)]:
            monkeypatch.setitem(sys.modules, parent, sys.modules.get(parent) or ModuleType(parent))
    written(workspace, "airflow")
    first, second, third = runpy.run_path(str(workspace / "scheduler/lapse_dag.py"))["steps"]
    assert (first.then, second.then) == (second, third) and [one.task_id for one in (first, second, third)] == [
        "score", "publish", "monitor"]  # fmt: skip
    [dag] = made
    assert dag.given["dag_id"] == "lapse_ann-s-shop-100-home" and dag.given["start_date"][1] == "Europe/Oslo"
    assert not dag.given["catchup"] and dag.given["max_active_runs"] == 1
    assert run_night(first.bash_command, workspace) == (0, ["score "])


@pytest.mark.skipif("LAPSE_AIRFLOW" not in os.environ, reason="LAPSE_AIRFLOW names no Python that has Airflow 3")
def test_airflow_itself_reads_the_dag(workspace: Path, tmp_path: Path) -> None:
    written(workspace, "airflow")
    read = (f"from airflow.dag_processing.dagbag import DagBag; bag = DagBag({str(workspace / 'scheduler')!r}); "
            "print(bag.import_errors, *bag.dags)")  # fmt: skip
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    subprocess.run([os.environ["LAPSE_AIRFLOW"], "-m", "airflow", "db", "migrate"], env=environment, check=True)
    done = subprocess.run(
        [os.environ["LAPSE_AIRFLOW"], "-c", read], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "{} lapse_ann-s-shop-100-home"


def test_the_cronjob_has_what_kubernetes_asks_for(workspace: Path) -> None:
    written(workspace, "kubernetes")
    claim, job = yaml(workspace / "scheduler/cronjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    name = job["metadata"]["name"]
    assert len(name) <= 52 and name == claim["metadata"]["name"] == "lapse-ann-s-shop-100-home"
    assert job["spec"]["concurrencyPolicy"] == "Forbid" and job["spec"]["timeZone"] == "Europe/Oslo"
    inner = job["spec"]["jobTemplate"]["spec"]
    pod = inner["template"]["spec"]
    assert pod["restartPolicy"] == "Never", "a podFailurePolicy asks for it"
    assert inner["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2, 3, 4, 6, 7]
    [container] = pod["containers"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]} and container["image"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


@pytest.mark.skipif(shutil.which("kubernetes-validate") is None, reason="no kubernetes-validate here (it is on PyPI)")
def test_kubernetes_own_schema_takes_the_cronjob(workspace: Path) -> None:
    written(workspace, "kubernetes")
    validate = ["kubernetes-validate", "-k", "1.30", "--strict", str(workspace / "scheduler/cronjob.yaml")]
    done = subprocess.run(validate, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_container_starts_the_mounted_night(workspace: Path) -> None:
    written(workspace, "container")
    lines = (workspace / "scheduler/Containerfile").read_text().splitlines()
    words = [line.split()[0] for line in lines if line and not line.startswith(("#", " "))]
    assert words[0] == "FROM" and words.index("USER") > words.index("RUN")
    assert lines[-1] == 'ENTRYPOINT ["/bin/sh", "/workspace/scheduler/night.sh"]'


@pytest.mark.parametrize(("scheduler", "path"), [("github", ".github/workflows/lapse.yml"), ("gitlab", ".gitlab-ci.yml")])
def test_ci_starts_the_night(scheduler: Scheduler, path: str, workspace: Path) -> None:
    written(workspace, scheduler)
    [content] = yaml(workspace / path)
    if scheduler == "github":
        # YAML 1.1 readers take a bare `on` for true; GitHub does not.
        assert {"name", "permissions", "concurrency", "jobs"} < set(content) and content["concurrency"]["group"]
        command = content["jobs"]["night"]["steps"][0]["run"]
    else:
        assert content["lapse"]["resource_group"] and content["lapse"]["rules"]
        [command] = content["lapse"]["script"]
    assert run_night(command, workspace) == (0, ["score ", "monitor "])


def test_init_writes_them_and_renews_what_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting_up, "_set_up_dvc", lambda _: [])
    folder = tmp_path / "shop"
    setting_up.init(folder, None, None)
    assert not (folder / "scheduler").exists()
    said = setting_up.init(folder, None, None, "systemd")
    assert "written: scheduler/" in said and any(line.startswith("systemd: sudo cp") for line in said)
    assert f'ExecStart=/bin/sh "{folder}/scheduler/night.sh"' in (folder / "scheduler/lapse.service").read_text()
    night, timer = folder / "scheduler/night.sh", folder / "scheduler/lapse.timer"
    timer.write_text(timer.read_text().replace("03:30", "05:00"))
    night.unlink()
    said = setting_up.init(folder, None, None)
    assert "written: scheduler/" in said and "05:00" in timer.read_text(), "renewed, and what was edited stays"


def test_a_path_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="characters that no scheduler's file can hold"):
        scheduler_files(tmp_path / "a\nb", "cron", (), timezone="UTC", lands=False)
