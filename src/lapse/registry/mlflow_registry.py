"""MLflow: the record of a training with the model under its name, and the alias `champion`.

This file and `served.py` are the only ones that import MLflow.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

import lapse
from lapse.core.errors import ModelError, first_line
from lapse.core.files import intact, read_json
from lapse.core.process import temporary_folder
from lapse.core.source_settings import without_passwords
from lapse.model.bundle import DAY, LIBRARIES, Bundle, content_hash
from lapse.registry.answers import database_advice, require_answer, require_login
from lapse.registry.moved import follow_the_workspace
from lapse.registry.record import description, feature_dictionary, flat_metrics, flat_params, input_example
from lapse.value.value_model import ValueModel, value_beside, value_hash

SERVED = Path(__file__).with_name("served.py")
CHAMPION = "champion"
TRACKING_URI = "MLFLOW_TRACKING_URI"
PARTS = ("test", "pooled", "baselines")
"""The parts of metrics.json that the run shows as metrics."""
HASHES: Mapping[str, tuple[str, Callable[[Path], str]]] = {
    "model_version": ("lapse", content_hash),
    "value_version": ("lapse", value_hash),
    "evaluation_version": ("evaluation", content_hash),
}
"""Tag of a registered version -> the folder whose files it is the hash of; older versions have the first only."""
CHAIN_HASH = "promotions_seal"
"""Tag of the registered model: the hash of the line in models/promotions.jsonl that it was last moved or refused by."""


def tracking_uri(root: Path) -> str:
    """Return where MLflow keeps its runs: MLFLOW_TRACKING_URI, else a sqlite file at the project's root.

    `dvc exp run --temp` works in a copy below .dvc/tmp; its runs belong to the project, not to the copy.
    """
    return os.environ.get(TRACKING_URI) or f"sqlite:///{_home(root) / 'mlflow.db'}"


def _home(root: Path) -> Path:
    """Return the folder of the project that a folder is, or is a copy of for an experiment."""
    parts = root.resolve().parts
    return Path(*parts[: parts.index(".dvc")]) if ".dvc" in parts else root.resolve()


def record_training(
    root: Path,
    experiment: str,
    registered_model: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, Any],
    models: Path,
    reports: Path,
    features: Path,
) -> str:
    """Record a finished and evaluated training, and return the id of its MLflow run.

    One run holds the flattened params, the hash of dvc.lock as the data's hash, the git commit, the cutoffs, the
    out-of-time metrics as `test/…` and `baselines/…`, the reports, the model card and the feature dictionary. Below it
    stands a nested run for each of `metrics["origins"]` ({test_cutoff, metrics}) and `metrics["trials"]` ({params,
    metrics}), where they are. The model is registered as a new version of `registered_model`: the final model, the
    evaluation model and metrics.json travel with it, so that it can be compared again beside a later one. `models`:
    holds lapse/ and evaluation/. `features`: its newest rows give the example, whose values are medians: no row of a
    customer is logged.
    """
    final_model = Bundle.read(models / "lapse")
    with mlflow_of(root) as mlflow:
        open_experiment(mlflow, tracking_uri(root), experiment)
        with mlflow.start_run(run_name=f"{registered_model} {metrics['test_cutoff']}") as run:
            text = description(metrics)
            mlflow.set_tags({**_tags(root, metrics), "model_version": final_model.version, "mlflow.note.content": text})
            mlflow.log_params(flat_params(params))
            _log_nested(mlflow, metrics.get("origins", ()), "origin")
            _log_nested(mlflow, metrics.get("trials", ()), "trial")
            _log_reports(mlflow, models, reports)
            mlflow.log_text(feature_dictionary(final_model), "feature_dictionary.csv")
            rows = pd.read_parquet(features / f"{metrics['test_cutoff']}.parquet")
            number = _register(mlflow, registered_model, models, reports / "metrics.json", final_model, rows)
            # After the model: it then gets them in the same stroke, else each is asked for again.
            mlflow.log_metrics(flat_metrics({part: metrics[part] for part in PARTS if part in metrics}))
            client = mlflow.MlflowClient()
            client.update_model_version(registered_model, str(number), description=text)
            hashes = {tag: of(models / folder) for tag, (folder, of) in HASHES.items()}
            for key, value in {**hashes, "test_cutoff": metrics["test_cutoff"]}.items():
                client.set_model_version_tag(registered_model, str(number), key, value)
            return str(run.info.run_id)


@dataclass(frozen=True)
class Registered:
    """A version of the registered model, read back."""

    number: int
    final_model: Bundle
    evaluation_model: Bundle
    metrics: Mapping[str, Any]
    """The content of metrics.json."""
    value: ValueModel | None = None
    """The value model beside it; None where it was recorded without one."""

    @property
    def name(self) -> str:
        """What a person reads."""
        return f"version {self.number} (model {self.final_model.version})"


@dataclass(frozen=True)
class Registry:
    """The versions of one registered model and its alias `champion`."""

    root: Path
    model: str

    def may_exist(self) -> bool:
        """Return whether there is a registry to ask: not where MLflow would only now make its file."""
        uri = tracking_uri(self.root)
        return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()

    def champion(self) -> tuple[int | None, str | None]:
        """Return the version that the alias points to and the chain hash of the last promotion, None where there is none."""
        with mlflow_of(self.root) as mlflow:
            try:
                found = mlflow.MlflowClient().get_registered_model(self.model)
            except mlflow.exceptions.MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None, None
                raise
            number = found.aliases.get(CHAMPION)
            return None if number is None else int(number), found.tags.get(CHAIN_HASH)

    def number_of(self, model_version: str) -> int:
        """Return the newest version with a bundle of this content hash; ModelError when there is none."""
        with mlflow_of(self.root) as mlflow:
            rows = mlflow.MlflowClient().search_model_versions(f"name = '{self.model}'")
            numbers = [int(row.version) for row in rows if row.tags.get("model_version") == model_version]
        if not numbers:
            raise ModelError(f"models/lapse ({model_version}) is not a version of {self.model!r} in {shown_uri(self.root)}. "
                             "`dvc repro evaluate` records it; or name another: --version.")  # fmt: skip
        return max(numbers)

    def fetch(self, number: int, recorded: str | None = None) -> Registered:
        """Return the bundles and metrics of a version; ModelError when it is missing or lacks one of them.

        ModelError, too, where its files are not those that its tags name, or not those of the model version `recorded`
        in the history. Nothing else looks into a file before.
        """
        with mlflow_of(self.root) as mlflow, temporary_folder("registry") as temporary:
            try:
                uri = f"models:/{self.model}/{number}"
                tags = mlflow.MlflowClient().get_model_version(self.model, str(number)).tags
                place = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(temporary))) / "artifacts"
            except (mlflow.exceptions.MlflowException, OSError) as error:
                raise ModelError(f"version {number} of {self.model!r} cannot be read from the registry "
                                 f"{shown_uri(self.root)}: {_cause(error)}. See what there is: `mlflow ui "
                                 f"--backend-store-uri {shown_uri(self.root)}`.") from None  # fmt: skip
            if not (place / "evaluation").exists() or not (place / "metrics.json").exists():
                raise ModelError(f"version {number} of {self.model!r} was recorded by an older lapse, without the "
                                 "evaluation model and its metrics. Record a new one: "
                                 "`dvc repro --force evaluate`.")  # fmt: skip
            self._require_same(number, place, tags, recorded)
            final_model, evaluation_model = Bundle.read(place / "lapse"), Bundle.read(place / "evaluation")
            again = "`dvc repro --force evaluate` records a new version"
            metrics = read_json(place / "metrics.json", again, error=ModelError)
            with intact(place / "metrics.json", again, error=ModelError):
                _ = metrics["test"]["auroc"], metrics["test_cutoff"], metrics["baselines"]
            return Registered(number, final_model, evaluation_model, metrics, value_beside(place / "lapse"))

    def _require_same(self, number: int, place: Path, tags: Mapping[str, str], recorded: str | None) -> None:
        """Raise ModelError where a downloaded version is not what was recorded."""
        expected = [(of, place / folder, tags[tag], "its tag") for tag, (folder, of) in HASHES.items() if tag in tags]
        if recorded is not None:
            expected.append((content_hash, place / "lapse", recorded, "the history"))
        for of, folder, wanted, where in expected:
            try:
                found = of(folder)
            except ModelError:
                found = "unreadable"
            if found != wanted:
                raise ModelError(
                    f"version {number} of {self.model!r} in {shown_uri(self.root)} is not what was recorded: its files are "
                    f"{found}, {where} says {wanted}. Somebody changed or damaged them. Bring them back from a backup; or "
                    "record the model anew (`dvc repro --force evaluate`) and promote that version."
                )

    def move_champion(self, number: int) -> None:
        """Point the alias to a version. Only promotion.py calls this, after it wrote why."""
        with mlflow_of(self.root) as mlflow:
            mlflow.MlflowClient().set_registered_model_alias(self.model, CHAMPION, str(number))

    def chain_hash(self, hash_of_line: str) -> None:
        """Remember the hash of the newest record of the history."""
        with mlflow_of(self.root) as mlflow:
            mlflow.MlflowClient().set_registered_model_tag(self.model, CHAIN_HASH, hash_of_line)


def shown_uri(root: Path) -> str:
    """Return where MLflow keeps its runs, without a password."""
    return without_passwords(tracking_uri(root))


def _cause(error: BaseException) -> str:
    return without_passwords(first_line(error))


def _database_fault(root: Path, cause: str) -> ModelError:
    return ModelError(f"MLflow's database {shown_uri(root)} cannot be used: {cause}. {database_advice(cause)}")


@contextmanager
def mlflow_of(root: Path) -> Iterator[Any]:
    """Yield MLflow, quiet and pointed at the project's runs; its errors become ModelError."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # By default MLflow asks eight times, in silence, for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    require_answer(tracking_uri(root), shown_uri(root))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        import sqlalchemy

        _quiet()
        if tracking_uri(root) == f"sqlite:///{_home(root) / 'mlflow.db'}":
            follow_the_workspace(_home(root))
        named = os.environ.get(TRACKING_URI)
        mlflow.set_tracking_uri(tracking_uri(root))
        try:
            require_login(tracking_uri(root))
            yield mlflow
        except ModuleNotFoundError as error:
            raise ModelError(f"MLflow at {shown_uri(root)} needs a driver, {error.name}, which is not installed. Install "
                             "it, or name another in MLFLOW_TRACKING_URI, like mysql+pymysql://.") from None  # fmt: skip
        except mlflow.exceptions.MlflowException as error:
            cause = _cause(error)
            if "sqlite3." in cause:  # MLflow hands some faults of its database on as its own
                raise _database_fault(root, cause) from None
            raise ModelError(f"MLflow at {shown_uri(root)} refused: {cause}. Check MLFLOW_TRACKING_URI, and "
                             "whether one may write there.") from None  # fmt: skip
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise _database_fault(root, _cause(getattr(error, "orig", None) or error)) from None
        finally:
            # MLflow puts it into the environment, where it would look like the user's own for the next workspace.
            if named is None:
                os.environ.pop(TRACKING_URI, None)


def open_experiment(mlflow: Any, uri: str, experiment: str) -> None:
    """Make an experiment the one that runs are recorded in; its files lie beside a database of the workspace."""
    if mlflow.get_experiment_by_name(experiment) is None:
        home = uri.removeprefix("sqlite:///")
        place = (Path(home).parent / "mlartifacts" / experiment).as_uri() if home != uri else None
        mlflow.create_experiment(experiment, artifact_location=place)
    mlflow.set_experiment(experiment)


def _tags(root: Path, metrics: Mapping[str, Any]) -> dict[str, str]:
    return {
        "kind": "training",
        "git_commit": _git(root, "rev-parse", "HEAD"),
        "git_dirty": str(bool(_git(root, "status", "--porcelain", "--untracked-files=no"))).lower(),
        "data_hash": _data_hash(root / "dvc.lock"),
        "test_cutoff": metrics["test_cutoff"],
        "verdict": metrics["verdict"],
        **{f"cutoffs_{role}": " ".join(days) for role, days in metrics["cutoffs"].items()},
    }


def _log_nested(mlflow: Any, parts: Sequence[Mapping[str, Any]], kind: str) -> None:
    """Log a nested run for each origin or trial; their metrics bear the names of the run above."""
    for number, part in enumerate(parts):
        label = part.get("test_cutoff", part.get("number", number))
        with mlflow.start_run(run_name=f"{kind} {label}", nested=True):
            mlflow.set_tags({"kind": kind, kind: str(label)})
            mlflow.log_params(flat_params(part.get("params", {})))
            mlflow.log_metrics(flat_metrics(part["metrics"], "test/"))


def _log_reports(mlflow: Any, models: Path, reports: Path) -> None:
    pictures, pages = sorted(reports.glob("pictures/*.png")), [reports / "metrics.json", reports / "report.html"]
    for path in [*pictures, *(page for page in pages if page.exists())]:
        mlflow.log_artifact(str(path), "reports")
    if (models / "README.md").exists():
        mlflow.log_text((models / "README.md").read_text(encoding="utf-8"), "model_card.md")


def _register(mlflow: Any, name: str, models: Path, metrics: Path, final_model: Bundle, rows: pd.DataFrame) -> int:
    """Register the bundles as a new version, and return its number.

    Every feature is a required column of the signature, whether or not it may be null: MLflow would fill an optional
    one that is missing with nothing. lapse itself goes along as code, because a server installs only what an index has.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    columns = [ColSpec("double", feature, required=True) for feature in final_model.features]
    example = input_example(final_model.features, rows)
    if final_model.season:
        columns.append(ColSpec("string", DAY, required=True))
        example = example.assign(**{DAY: final_model.cutoffs["fit"][-1]})
    with temporary_folder("code") as temporary:
        code = temporary / "lapse"
        shutil.copytree(Path(lapse.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
        logged = mlflow.pyfunc.log_model(
            name="lapse",
            python_model=str(SERVED),
            artifacts={"bundle": str(models / "lapse"), "evaluation": str(models / "evaluation"), "metrics": str(metrics)},
            signature=ModelSignature(Schema(columns), Schema([ColSpec("double", "churn_risk")])),
            input_example=example,
            code_paths=[str(code)],
            pip_requirements=[f"{library}=={version(library)}" for library in (*LIBRARIES, "scipy")],
            registered_model_name=name,
        )
    return int(logged.registered_model_version)


def _data_hash(lock: Path) -> str:
    """Return the md5 that DVC has of data/features: the same rows, the same hash."""
    from ruamel.yaml import YAML

    stages = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    outs = stages.get("features", {}).get("outs", [])
    return str(outs[0]["md5"]) if outs else "no dvc.lock"


def _quiet() -> None:
    import logging

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _git(root: Path, *words: str) -> str:
    try:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no git"
