"""Custom features: Python files in pipelines/own_features, or SQL expressions in section features of params.yaml.

They join the table under the same rules as lapse's: cut at the cutoff, in the dictionary, in the reasons, under the
leakage check. A model is only used with the very custom features that it was trained on.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from lapse.core.cache import key_of
from lapse.core.errors import ModelError, SettingsError
from lapse.core.files import digest
from lapse.core.settings import Features, SqlFeature
from lapse.core.tables.activity import CATEGORY_DAYS, EVENT_DAYS, FEEDBACK_DAYS, PURCHASE_DAYS, SUBSCRIPTION_DAYS
from lapse.core.windows import ChurnWindows
from lapse.features.catalogue import FAMILIES
from lapse.features.family import Entry, Family, Feature, Inputs, OwnFeatures
from lapse.features.query import empty_days
from lapse.features.sql import aggregate, parsed
from lapse.history.profile import DataProfile

FOLDER = Path("pipelines") / "own_features"
SQL_FAMILY = "own_sql"
DAY_TABLES = {table.name: table for table in (PURCHASE_DAYS, CATEGORY_DAYS, EVENT_DAYS, FEEDBACK_DAYS, SUBSCRIPTION_DAYS)}


def feature_inputs(profile: DataProfile, churn: ChurnWindows, section: Features, root: Path) -> Inputs:
    """Return the inputs for a delivery, the churn windows, section features of params and a workspace's own features."""
    return Inputs.of(profile, churn, section, own_features(root, section.sql))


def own_features(root: Path, sql: Mapping[str, SqlFeature]) -> OwnFeatures:
    """Return a workspace's own families and what identifies them.

    Every `Family` that a Python file there makes is taken. SettingsError for a file that does not run or makes none,
    for SQL that is not an aggregate over one table, and for a name that is taken.
    """
    files = sorted((root / FOLDER).glob("*.py"))
    families = [family for file in files for family in _families_in(file)]
    families += _sql_families(sql)
    names = [family.name for family in (*FAMILIES, *families)]
    if taken := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"features: {taken[0]!r} names two families. Give yours a name of its own.")
    key = key_of(digest(*files), sorted((name, sorted(one.model_dump().items())) for name, one in sql.items()))
    return OwnFeatures(tuple(families), key if files or sql else "")


def require_sql(sql: Mapping[str, SqlFeature]) -> None:
    """Raise SettingsError for SQL of features.sql that stage features would refuse, before there are any rows."""
    for name, spec in sql.items():
        where = f"features.sql.{name}"
        aggregate(where, parsed(where, spec.expression), empty_days(DAY_TABLES[spec.table]))


def with_own_features(inputs: Inputs, root: Path, sql: Mapping[str, SqlFeature]) -> Inputs:
    """Return a model's inputs with the workspace's own features.

    ModelError when they are not those that the model was trained with.
    """
    found = own_features(root, sql)
    if found.digest != inputs.own_digest:
        raise ModelError(f"score: the features of your own ({root / FOLDER} and features.sql) are not those that the model "
                         "was trained with. Put them back, or train again: `dvc repro`.")  # fmt: skip
    return replace(inputs, own=found.families)


def _families_in(file: Path) -> list[Family]:
    """Return the families that a Python file makes, in the order of their names in it."""
    name = f"lapse_own_features_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{file} cannot be read as Python.")
    module = importlib.util.module_from_spec(spec)
    # No bytecode beside it: the folder is a dependency of DVC's stages.
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SettingsError(f"{file} does not run: {type(error).__name__}: {error}. Correct it, or take it away.") from None
    finally:
        sys.dont_write_bytecode = written
    made = {id(one): one for one in vars(module).values() if isinstance(one, Family) and one not in FAMILIES}
    if not made:
        raise SettingsError(f"{file} makes no Family. See {FOLDER}/README.md for an example, or take the file away.")
    return list(made.values())


def _sql_families(sql: Mapping[str, SqlFeature]) -> list[Family]:
    families: dict[str, Family] = {}
    for name, spec in sorted(sql.items()):
        table = spec.table
        family = families.setdefault(
            table, Family(f"{SQL_FAMILY}_{table}", table, "of your own, in SQL", needs=_needs(table))
        )
        entry = Entry(
            spec.meaning,
            spec.unit,
            "null where the expression is",
            spec.risk,
            name.replace("_", " "),
            spec.reason,
        )
        where = f"features.sql.{name}"
        compute = partial(aggregate, where, parsed(where, spec.expression))
        family.add(Feature(name, family.name, entry, "aggregate", compute, spec.looks_back, table=table, fact=name))
    return list(families.values())


def _needs(table: str) -> tuple[str, ...]:
    other = {"event_days": "events", "feedback_days": "feedback", "subscription_days": "subscriptions"}
    return (other[table],) if table in other else ()
