"""The page under load: how long the first page and any filter of a list take, and how much memory that is.

    python benchmarks/page.py --customers 1000000 --users 20 --seconds 30

Makes up a run of `lapse score` with half the customers on one list, serves it in a process of its own, and lets users click
through filters, sorts and pages with a second of thought between two clicks. Prints Markdown.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import threading
import time
from datetime import date, timedelta
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from lapse.core.files import write_json, write_text
from lapse.core.language import as_text
from lapse.core.tables.activity import ATTRIBUTE
from lapse.core.tables.lists import LIST_DECISIONS, SCORED_CUSTOMERS
from lapse.outreach.decisions import Decisions
from lapse.outreach.heads import ListHead
from lapse.outreach.plans import ListPlan
from lapse.outreach.stage import CUSTOMERS, DECISIONS, HEADS, write_table

ROOT = Path(__file__).resolve().parents[1]
SEGMENTS, REGIONS = ("gold", "silver", "bronze", "new"), tuple("NESW")
CAUSES = ("silence", "ordering_less", "low_spend", "narrowing", "trouble", "returns", "seldom", "discounts")
CLICKS = (
    "", "?band=high", "?segment=gold", "?reason=silence&band=high", "?min_value=40", "?region=N&segment=silver", "?q=c00042",
    "?sort=churn_risk", "?sort=-last_order_date&page=7", "?contacts=200", "?budget=500&band=high", "?page=1000",
)  # fmt: skip


def write_run(folder: Path, customers: int, as_of: date, *, listed: int, seed: int = 7) -> pd.DataFrame:
    """Write the files that a run leaves for the page into a folder, and return the made-up customers."""
    draw = np.random.default_rng(seed)
    rows = pd.DataFrame(index=pd.RangeIndex(customers), columns=list(SCORED_CUSTOMERS.names), dtype="object")
    risk = np.sort(draw.beta(1, 4, customers))[::-1]
    days = draw.integers(1, 90, customers)
    rows["customer_id"] = [f"c{number:07}" for number in range(customers)]
    rows["as_of"], rows["state"], rows["model_version"], rows["may_contact"] = as_of, "active", "made up", True
    rows["churn_risk"], rows["risk_percentile"] = risk, 100 - 100 * np.arange(customers) / customers
    rows["risk_band"] = np.where(risk > 0.4, "high", np.where(risk > 0.2, "medium", "low"))
    rows["expected_margin"], rows["expected_cost"] = draw.gamma(2, 60, customers), 0.8 + draw.random(customers)
    rows["value_at_stake"] = (rows["expected_margin"] * risk).astype(float)
    rows["expected_profit"] = rows["value_at_stake"] * 0.3 - rows["expected_cost"]
    for number in (1, 2, 3):
        rows[f"reason_{number}_code"] = draw.choice(CAUSES, customers)
        rows[f"reason_{number}"] = [f"last ordered {day} days ago, usually orders every {number + 4} days" for day in days]
    message = "last ordered {0:ago}, usually orders {1:every day}"
    rows["told"] = [as_text({f"reason_{n}": [message, str(day), str(n + 4)] for n in (1, 2, 3)}) for day in days]
    rows["order_count"], rows["days_since_last_order"] = draw.integers(1, 60, customers), days
    rows["last_order_date"] = [as_of - timedelta(days=int(day)) for day in days]
    rows["spend_last_year"], rows["segment"] = draw.gamma(2, 300, customers), draw.choice(SEGMENTS, customers)
    rows[f"{ATTRIBUTE}region"] = draw.choice(REGIONS, customers)
    order = rows["value_at_stake"].sort_values(ascending=False).index
    on, off = order[:listed], order[listed:]
    decided = pd.DataFrame({
        "list": "at_risk", "customer_id": [*rows.loc[on, "customer_id"], *rows.loc[off, "customer_id"]],
        "rank": pd.array([*range(1, len(on) + 1), *[None] * len(off)], dtype="Int64"),
        "kept_off": [*[None] * len(on), *["over_capacity"] * len(off)], "other_list": None,
        "action": "a personal reminder", "channel": "email",
    })  # fmt: skip
    decisions = Decisions(decided)
    plans = [
        ListPlan("at_risk", "At risk", "churn_risk > 0", "value_at_stake", 40, "by_reason", said="churn_risk > 0"),
        ListPlan("second_order", "First order", "false", "days_since_last_order", 70, "thanks", said="false"),
        ListPlan("lukewarm", "Feedback is cooling", "false", "rating_trend", 50, "ask", missing=("ratings",)),
    ]
    heads = [
        ListHead(plan, len(decisions.listed(plan.name)), None, str(as_of), "made up", "B", None,
                 decisions.kept_off(plan.name), None, None, [])
        for plan in plans
    ]  # fmt: skip
    write_table(rows, SCORED_CUSTOMERS.columns, folder / CUSTOMERS)
    write_table(decisions.rows, LIST_DECISIONS.columns, folder / DECISIONS)
    write_json(folder / HEADS, [head.to_json() for head in heads])
    return rows


def write_archive(archive: Path, customers: int, as_of: date, *, listed: int) -> None:
    """Write a day of an archive for the page, and lead `latest` to it."""
    run = archive / f"as_of={as_of}"
    write_run(run / "lists", customers, as_of, listed=listed)
    write_json(run / "manifest.json", {})
    write_text(archive / "latest", f"{run.name}\n")


def ask(port: int, address: str) -> float:
    """Return how long an address took to answer, in seconds."""
    started = time.perf_counter()
    connection = HTTPConnection("localhost", port, timeout=120)
    connection.request("GET", f"/lists/at_risk{address}")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200, f"{address}: {answer.status}"
    return time.perf_counter() - started


def click(port: int, until: float, seed: int, took: list[float]) -> None:
    """Click through the list as one user does, and note how long each answer took."""
    dice = random.Random(seed)
    while time.monotonic() < until:
        time.sleep(dice.uniform(0.5, 1.5))
        # Every other filter is one that nobody has asked for before.
        narrowed = dice.choice([f"min_value={dice.uniform(1, 90):.3f}", f"contacts={dice.randint(1, 5000)}"])
        new = f"?segment={dice.choice(SEGMENTS)}&{narrowed}"
        took.append(ask(port, dice.choice([dice.choice(CLICKS), new])))


def peak_mib(pid: int) -> float:
    """Return the most memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--port", type=int, default=8077)
    given = parser.parse_args()
    with TemporaryDirectory() as name:
        here = Path(name)
        shutil.copy(ROOT / "params.yaml", here)
        write_archive(here / "nightly", given.customers, date.today(), listed=given.customers // 2)  # noqa: DTZ011
        server = subprocess.Popen([sys.executable, "-m", "lapse.cli", "serve", "--port", str(given.port)], cwd=here)
        try:
            for _ in range(600):
                try:
                    ask(given.port, "")
                    break
                except OSError:
                    time.sleep(0.5)
            loaded, took = peak_mib(server.pid), []
            alone = [ask(given.port, address) for address in CLICKS]
            users = [threading.Thread(target=click, args=(given.port, time.monotonic() + given.seconds, seed, took))
                     for seed in range(given.users)]  # fmt: skip
            for user in users:
                user.start()
            for user in users:
                user.join()
            half, most = np.percentile(took, [50, 95])
            cells = {
                "customers": given.customers, "listed": given.customers // 2, "users": given.users, "answers": len(took),
                "alone, slowest first answer, ms": max(alone) * 1e3, "median ms": half * 1e3, "p95 ms": most * 1e3,
                "slowest ms": max(took) * 1e3, "MiB when loaded": loaded, "MiB at most": peak_mib(server.pid),
            }  # fmt: skip
            print(f"| {' | '.join(cells)} |", f"|{' --- |' * len(cells)}", sep="\n")
            print(f"| {' | '.join(f'{value:,.0f}' for value in cells.values())} |")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
