"""The archive as Prometheus reads it, in lapse.prom: for node_exporter's textfile collector, which follows links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from lapse.core.files import write_text
from lapse.night.archive import MANIFEST, Archive
from lapse.night.manifest import Failure, Manifest
from lapse.night.monitored import Monitored

FILE = "lapse.prom"
Sample = tuple[Mapping[str, str], float]


def write_metrics(out: Path) -> None:
    """Write lapse.prom of an archive: its newest run, the failure since then, and the monitor's alarms."""
    write_text(out / FILE, metrics_text(out))


def metrics_text(out: Path) -> str:
    """Return the same as Prometheus reads it: what lapse.prom holds, and what the page answers at /metrics."""
    return "".join(_lines(out))


def _lines(out: Path) -> Iterator[str]:
    for name, (meaning, samples) in metrics(out).items():
        yield f"# HELP lapse_{name} {meaning}\n# TYPE lapse_{name} gauge\n"
        for labels, value in samples:
            inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            yield f"lapse_{name}{f'{{{inside}}}' if inside else ''} {value:.15g}\n"


def metrics(out: Path) -> dict[str, tuple[str, list[Sample]]]:
    """Return name -> (meaning, samples), a sample being its labels and its value."""
    run, failure = Archive(out).latest(), Failure.of(out)
    found: dict[str, tuple[str, list[Sample]]] = {
        "last_exit_code": ("Exit code of the last run of lapse score.", [({}, failure.exit_code if failure else 0)]),
    }
    if failure is not None:
        found["last_failure_timestamp_seconds"] = ("When it failed.", [({}, _seconds(failure.finished_at))])
    if run is not None:
        told = Manifest.read(run / MANIFEST)
        customers = told.customers
        found |= {
            "last_success_timestamp_seconds": ("When the newest run ended.", [({}, _seconds(told.finished_at))]),
            "as_of_timestamp_seconds": ("The day it scored at, 0:00 UTC.", [({}, _seconds(f"{told.as_of}T00:00:00+00:00"))]),
            "log_age_days": ("Days since the last complete day of the log.", [({}, told.log_age_days)]),
            "warnings": ("Warnings of the newest run.", [({}, len(told.warnings))]),
            "customers": ("Customers of the newest run.", [
                ({"what": "scored"}, customers.scored), ({"what": "at_risk"}, customers.at_risk),
                ({"what": "listed"}, customers.listed), ({"what": "leaving"}, customers.leaving),
            ]),
            "list_customers": ("Customers on each list.", [({"list": name}, size) for name, size in told.lists.items()]),
            "drift_psi": ("Population stability index of the risks.", [({"against": d.against}, d.psi) for d in told.drift]),
            "step_seconds": ("Wall time of each step.", [({"step": step.name}, step.seconds) for step in told.steps]),
            "step_cpu_seconds": ("CPU time of each step.", [({"step": step.name}, step.cpu_seconds) for step in told.steps]),
        }  # fmt: skip
    looked = Monitored.of(out)
    if looked is not None:
        found["monitor_alarms"] = ("Alarms of lapse monitor's newest look at the model.", [({}, len(looked.alarms))])
        moved: list[Sample] = [({"feature": one.feature}, one.psi) for one in looked.most_moved]
        found["feature_psi"] = ("Stability index of the features that moved most.", moved)
    return found


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).astimezone(UTC).timestamp()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
