"""The MLflow record of a training: params, data, code, metrics, plots, and the model under its name.

This file and `served.py` are the only ones that import MLflow.
"""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lapse.model.bundle import LIBRARIES, Bundle

SERVED = Path(__file__).with_name("served.py")


def tracking_uri(root: Path) -> str:
    """The project's folder in, where MLflow keeps its runs out: MLFLOW_TRACKING_URI, else a sqlite file at the root.

    `dvc exp run --temp` works in a copy below .dvc/tmp; its runs belong to the project, not to the copy.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if given:
        return given
    parts = root.resolve().parts
    home = Path(*parts[: parts.index(".dvc")]) if ".dvc" in parts else root.resolve()
    return f"sqlite:///{home / 'mlflow.db'}"


def record_training(
    root: Path,
    experiment: str,
    registered_model: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, Any],
    bundle: Path,
    reports: Path,
    features: Path,
) -> str:
    """A finished and judged training in, the id of its MLflow run out.

    One run holds the flattened params, the hash of dvc.lock as the data's hash, the git commit, the cutoffs, the
    test metrics, the report folder and the bundle that ships, registered as a new version of `registered_model`.
    `features`: the folder whose newest rows the signature is read off; no row of it is logged.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        from mlflow.models import infer_signature

        uri = tracking_uri(root)
        _quiet()
        mlflow.set_tracking_uri(uri)
        if mlflow.get_experiment_by_name(experiment) is None:
            home = uri.removeprefix("sqlite:///")
            place = (Path(home).parent / "mlartifacts" / experiment).as_uri() if home != uri else None
            mlflow.create_experiment(experiment, artifact_location=place)
        mlflow.set_experiment(experiment)
        with mlflow.start_run(run_name=f"{registered_model} {metrics['test_cutoff']}") as run:
            mlflow.log_params(_flat(params))
            mlflow.set_tags({
                "git_commit": _git(root, "rev-parse", "HEAD"),
                "git_dirty": str(bool(_git(root, "status", "--porcelain", "--untracked-files=no"))).lower(),
                "data_hash": _data_hash(root / "dvc.lock"),
                "model_version": Bundle.read(bundle).version,
                "test_cutoff": metrics["test_cutoff"],
                **{f"cutoffs_{role}": " ".join(days) for role, days in metrics["cutoffs"].items()},
            })  # fmt: skip
            mlflow.log_metrics({name: value for name, value in metrics["test"].items() if _is_number(value)})
            for rival, card in metrics["rivals"].items():
                mlflow.log_metrics({f"{rival}.{name}": value for name, value in card.items() if _is_number(value)})
            for path in [*sorted(reports.glob("pictures/*.png")), reports / "metrics.json"]:
                mlflow.log_artifact(str(path), "reports")
            shipped = Bundle.read(bundle)
            example = pd.read_parquet(features / f"{metrics['test_cutoff']}.parquet").head()
            inputs = pd.DataFrame(shipped.matrix(example), columns=list(shipped.features))
            mlflow.pyfunc.log_model(
                name="lapse",
                python_model=str(SERVED),
                artifacts={"bundle": str(bundle)},
                signature=infer_signature(inputs, pd.DataFrame({"churn_risk": shipped.churn_risk(example)})),
                pip_requirements=_requirements(),
                registered_model_name=registered_model,
            )
            return str(run.info.run_id)


def _data_hash(lock: Path) -> str:
    """The md5 that DVC has of data/features: the same rows, the same hash."""
    from ruamel.yaml import YAML

    stages = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    outs = stages.get("features", {}).get("outs", [])
    return str(outs[0]["md5"]) if outs else "no dvc.lock"


def _requirements() -> list[str]:
    from importlib.metadata import version

    return [f"{name}=={version(name)}" for name in (*LIBRARIES, "ruamel.yaml", "pydantic", "scipy")]


def _quiet() -> None:
    import logging

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _git(root: Path, *words: str) -> str:
    try:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no git"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
