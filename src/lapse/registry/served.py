"""What MLflow serves: feature rows in, churn_risk out. Kept as code, so nothing has to be unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from lapse.model.bundle import Bundle


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """The bundle behind MLflow's own interface."""

    def load_context(self, context: Any) -> None:
        """Read the bundle once."""
        self.bundle = Bundle.read(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a frame with the column churn_risk; ModelError names missing features."""
        return pd.DataFrame({"churn_risk": self.bundle.churn_risk(model_input)})


mlflow.models.set_model(ServedModel())
