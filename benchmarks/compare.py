"""Are a rival's features lapse's? Every column that both have, at every cutoff, value by value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def compare(lapse: str, rival: str, cutoffs: list[str]) -> dict[str, Any]:
    """Return how many columns two folders of features share, and which differ where.

    Equal is within 1e-9 of the value (or 1e-6 near 0): the rivals add up floats, lapse adds up decimals.
    """
    shared: set[str] = set()
    differing: dict[str, int] = {}
    for cutoff in cutoffs:
        theirs = pd.read_parquet(Path(rival) / f"{cutoff}.parquet")
        theirs = theirs.set_index("customer_id") if "customer_id" in theirs.columns else theirs
        theirs = theirs.set_axis(theirs.index.astype(str), axis=0).sort_index()
        ours = pd.read_parquet(Path(lapse) / f"{cutoff}.parquet").set_index("customer_id").sort_index()
        if theirs.index.tolist() != ours.index.tolist():
            differing["customer_id"] = len(theirs.index.symmetric_difference(ours.index))
            continue
        both = [name for name in theirs.columns if name in ours.columns]
        shared.update(both)
        for name in both:
            one, other = (frame[name].to_numpy("float64", na_value=np.nan) for frame in (ours, theirs))
            rows = int((~np.isclose(one, other, rtol=1e-9, atol=1e-6, equal_nan=True)).sum())
            if rows:
                differing[name] = differing.get(name, 0) + rows
    return {"shared": len(shared), "differing": differing}
