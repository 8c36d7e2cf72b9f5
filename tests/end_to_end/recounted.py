"""The reasons of 20 customers of a workspace, recounted from its validated rows in plain Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lapse.core.language import words
from lapse.core.tables.sources import TRANSACTIONS
from lapse.features.catalogue import all_features
from lapse.features.names import names_in
from lapse.scoring.reason_wording import fill_in, text_of
from lapse.scoring.reasons import Explanation, strongest_causes, typical_values
from lapse.scoring.score import feature_rows
from lapse.workspace import Workspace
from tests.recount import Log, customers_of, recount

CUSTOMERS = 20
TABLES = {"lines": "transactions", "events": "events", "feedback": "feedback", "contracts": "subscriptions"}


def log_in(here: Workspace, chosen: set[str]) -> Log:
    """Return every row of the chosen customers, and of their peers the days on which they ordered."""
    log = {}
    for name, table in TABLES.items():
        rows = pd.read_parquet(here.paths.validated / f"{table}.parquet")
        own = rows["customer_id"].isin(chosen)
        if name == "lines":
            # A day on the clock of the business, as everywhere.
            rows["hour"] = rows["ordered_at"].dt.hour
            rows["ordered_at"] = rows[TRANSACTIONS.day]
            ordered = ~rows["is_return"].astype(bool) & (rows["amount"].isna() | (rows["amount"] > 0))
            rows = rows[
                own
                | (ordered & ~rows[ordered].duplicated(["customer_id", "ordered_at"]).reindex(rows.index, fill_value=False))
            ]
        elif name != "feedback":
            # What others rated is what a rating is compared with.
            rows = rows[own]
        log[name] = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return log


def explained(here: Workspace, *, has_model: bool) -> tuple[pd.DataFrame, Any, list[tuple[int, Explanation]]]:
    """Return the feature rows of the newest day, the inputs, and the explanations of up to 20 customers at risk.

    Without a model, what is said under random contributions.
    """
    if has_model:
        bundle = here.final_bundle()
        inputs, features = bundle.inputs, all_features(bundle.inputs)
        with here.engine() as engine:
            tables = here.activity_tables(engine)
            rows = feature_rows(engine, tables, here.period.last_complete_day, bundle, here.profile)
        chosen = rows.iloc[np.argsort(-bundle.churn_risk(rows), kind="stable")[: 3 * CUSTOMERS : 3]]
        contributed = bundle.contributions(chosen)
    else:
        inputs, features = here.inputs, all_features(here.inputs)
        rows = pd.read_parquet(max(here.paths.features.glob("*.parquet")))
        chosen = rows.iloc[:: max(1, len(rows) // CUSTOMERS)].head(CUSTOMERS)
        draw, names = np.random.default_rng(3), [feature.name for feature in features]
        contributed = pd.DataFrame(draw.normal(size=(len(chosen), len(names))), columns=names).assign(base=0.0)
    why = strongest_causes(chosen, contributed, features, typical_values(rows, features))
    return rows, inputs, list(zip(chosen.index, why, strict=True))


def require_true_reasons(root: Path, *, has_model: bool = True) -> int:
    """Fail where a reason of one of 20 customers is not what the raw rows say; return how many were recounted."""
    here = Workspace(root)
    rows, inputs, why = explained(here, has_model=has_model)
    features = all_features(inputs)
    typical = typical_values(rows, features)
    cutoff = pd.Timestamp(rows["cutoff_date"].iloc[0]).date()
    known = customers_of(log_in(here, {rows.loc[index, "customer_id"] for index, _ in why}), cutoff)
    everybody = [known[who] for who in rows["customer_id"] if who in known]
    recounted, unknown = 0, set()
    for index, explanation in why:
        row = rows.loc[index]
        values = row.drop(["customer_id", "cutoff_date"]).astype("float64").to_dict()
        counted = recount(known[row["customer_id"]], everybody, inputs, here.profile.rating_scale or (1, 5))
        for direction, group in ((1, explanation.reasons), (-1, explanation.protective)):
            for reason in group:
                texts = {
                    text: typical.get(feature.name, np.nan)
                    for feature in features
                    if (text := text_of(feature, direction))
                    and words(fill_in(text, values, typical.get(feature.name, np.nan)) or [""]) == reason.text
                }
                assert texts, reason.text
                names = {name for text in texts for name in names_in(text)}
                unknown |= {name for name in names - set(counted) if not np.isnan(values[name])}
                if names <= set(counted):
                    wrong = {name: (values[name], counted[name]) for name in names
                             if not np.isclose(values[name], counted[name], rtol=1e-9, atol=1e-9)}  # fmt: skip
                    assert not wrong, (reason.text, wrong)
                    again = {words(fill_in(text, counted, other) or [""]) for text, other in texts.items()}
                    assert reason.text in again, (reason.text, again)
                    recounted += 1
    assert not unknown, f"nothing recounts {sorted(unknown)}"
    return recounted
