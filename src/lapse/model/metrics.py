"""How good a ranking and its probabilities are. Ties are never broken by the label."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def auroc(churned: Ints, score: Floats) -> float | None:
    """Outcomes and scores in, P(a churner scores above a stayer) out, ties counting half; None with one class.

    Fixed points: random .5, perfect 1, all tied .5.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(churned, score)) if len(np.unique(churned)) == 2 else None


def capture_at(churned: Ints, score: Floats, share: float) -> float | None:
    """Outcomes, scores and a share of the list in, the share of all churners found in it out.

    Customers tied at the edge count in proportion: whichever of them were drawn, this is what is expected.
    Fixed points: all tied gives `share`; perfect gives min(1, share / churn rate). None without churners.
    """
    total = churned.sum()
    if total == 0:
        return None
    wanted = share * len(churned)
    values, where = np.unique(-score, return_inverse=True)
    size = np.bincount(where, minlength=len(values)).astype(float)
    caught = np.bincount(where, weights=churned, minlength=len(values))
    taken = np.clip(wanted - (np.cumsum(size) - size), 0, size)
    return float((caught * taken / size).sum() / total)


def lift_at(churned: Ints, score: Floats, share: float) -> float | None:
    """As `capture_at`, over the share: churn rate in the top share over the base rate. Fixed point: all tied 1."""
    caught = capture_at(churned, score, share)
    return None if caught is None else caught / share


def ece(churned: Ints, risk: Floats, bins: int = 10) -> float:
    """Outcomes and probabilities in, the expected calibration error over bins of equal size out; 0 is perfect.

    Tied probabilities share a bin. Naeini, Cooper & Hauskrecht (2015), with equal-size bins.
    """
    edges = np.unique(np.quantile(risk, np.linspace(0, 1, bins + 1)[1:-1], method="higher"))
    bin_of = np.searchsorted(edges, risk, side="right")
    count = np.bincount(bin_of)
    gap = np.abs(np.bincount(bin_of, weights=risk) - np.bincount(bin_of, weights=churned))
    return float(gap.sum() / count.sum())


def scorecard(churned: Ints, risk: Floats) -> dict[str, float | None]:
    """Outcomes and calibrated probabilities in, every metric of the report out; None where it is not defined."""
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

    both = len(np.unique(churned)) == 2
    return {
        "n": len(churned),
        "churn_rate": float(churned.mean()),
        "auroc": auroc(churned, risk),
        "average_precision": float(average_precision_score(churned, risk)) if both else None,
        "brier": float(brier_score_loss(churned, risk)),
        "log_loss": float(log_loss(churned, risk, labels=[0, 1])),
        "ece": ece(churned, risk),
        "lift_at_10pct": lift_at(churned, risk, 0.1),
        "capture_at_10pct": capture_at(churned, risk, 0.1),
    }


def bootstrap_aurocs(churned: Ints, risks: Mapping[str, Floats], rounds: int, seed: int) -> dict[str, Floats]:
    """Outcomes and risks by name in, the AUROC of each on every resample of the customers out (Efron 1979).

    All names see the same resamples, so differences between them are paired. Resamples with one class only are
    left out; the arrays are empty when there is no other.
    """
    random = np.random.default_rng(seed)
    ordered = {name: np.unique(risk, return_inverse=True)[1] for name, risk in risks.items()}
    found: dict[str, list[float]] = {name: [] for name in risks}
    for _ in range(rounds):
        copies = np.bincount(random.integers(0, len(churned), len(churned)), minlength=len(churned))
        left, stayed = copies * churned, copies * (1 - churned)
        pairs = int(left.sum()) * int(stayed.sum())
        if pairs == 0:
            continue
        for name, level in ordered.items():
            positives, negatives = np.bincount(level, weights=left), np.bincount(level, weights=stayed)
            below = np.cumsum(negatives) - negatives
            found[name].append(float((positives * (below + negatives / 2)).sum() / pairs))
    return {name: np.array(values) for name, values in found.items()}


def interval(values: Floats) -> tuple[float, float] | None:
    """Values on resamples in, their 95 % percentile interval out; None without any."""
    if len(values) == 0:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
