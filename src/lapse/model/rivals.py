"""The rules that the model has to beat, on the same customers and cutoffs, as probabilities like its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

RIVALS = ("days_since_last_order", "overdue_ratio", "rfm_logistic")


def rival_risk(
    name: str, known: pd.DataFrame, test: pd.DataFrame, windows: Sequence[int], active_days: int
) -> npt.NDArray[np.float64]:
    """A rival's name, the rows known at the test cutoff and the test rows in, its churn risk per test row out.

    A rule (one number) is turned into a probability by a logistic regression on that number, fitted on the known
    rows. `rfm_logistic` is recency, frequency and monetary value in one (Bult & Wansbeek 1995; Fader et al. 2005).
    """
    columns = [name] if name != "rfm_logistic" else rfm_columns(known, windows, active_days)
    fitted = _logistic().fit(_logged(known[columns]), known["churned"])
    return np.asarray(fitted.predict_proba(_logged(test[columns]))[:, 1])


def rfm_columns(known: pd.DataFrame, windows: Sequence[int], active_days: int) -> list[str]:
    """The rows in, the three columns of RFM out: the longest window inside active_days; no M without money."""
    window = max([days for days in windows if days <= active_days], default=min(windows))
    wanted = ["days_since_last_order", f"order_count_{window}d", f"net_spend_{window}d"]
    return [name for name in wanted if name in known.columns]


def _logged(values: pd.DataFrame) -> pd.DataFrame:
    """Counts, days and money are skewed: log(1 + x), keeping the sign of a negative balance."""
    return pd.DataFrame(np.sign(values) * np.log1p(values.abs()), index=values.index)


def _logistic() -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # A customer without a gap has no overdue ratio: an indicator lets the regression learn what that means.
    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_pipeline(impute, StandardScaler(), LogisticRegression())
