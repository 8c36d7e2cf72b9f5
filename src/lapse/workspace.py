"""A workspace: the folder that holds params.yaml, and one method for every stage that runs in it.

DVC's stage files, the command line, the nightly run and the benchmarks all call these methods, so that what a stage reads,
writes and takes from params.yaml is written once. What a stage does is written in the room that the method calls. Methods
import what they call, so that a stage loads, and depends on, no more than it runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from lapse.core.engine import DuckEngine, Engine, open_duckdb, open_engine
from lapse.core.errors import DataError
from lapse.core.files import write_json
from lapse.core.language import speaking
from lapse.core.logging import stage_logger
from lapse.core.paths import Paths
from lapse.core.process import held
from lapse.core.settings import Settings, load_settings
from lapse.core.source_settings import Sources
from lapse.core.windows import ChurnWindows, Period, resolve_as_of
from lapse.history.profile import DataProfile

if TYPE_CHECKING:
    import pandas as pd

    from lapse.features.family import Inputs
    from lapse.features.leakage import LeakageReport
    from lapse.history.activity.rollup import Activity
    from lapse.history.validation.counts import Count
    from lapse.model.bundle import Bundle
    from lapse.outreach.rules import ListRules
    from lapse.scoring.consent import ConsentRecord
    from lapse.scoring.freshness import Freshness
    from lapse.usability.refused_report import RefusedReport
    from lapse.usability.usability_report import UsabilityReport


class Workspace:
    """A folder with a params.yaml, whose settings and data profile are read once, when first asked for.

    `data`: where tables and reports are, `root/data` unless given; the nightly run works in a temporary folder.
    """

    def __init__(self, root: Path = Path(), *, settings: Settings | None = None, data: Path | None = None) -> None:
        self.root = root
        self.paths = Paths(root, data or root / "data")
        self._settings = settings

    @cached_property
    def settings(self) -> Settings:
        """The typed params.yaml; SettingsError when it cannot be followed."""
        return self._settings or load_settings(self.root / "params.yaml")

    @cached_property
    def profile(self) -> DataProfile:
        """The data profile that stage validate wrote; DataError when it has not run."""
        return DataProfile.read(self.paths.profile)

    @property
    def period(self) -> Period:
        """The days that the log covers."""
        return self.profile.period

    @property
    def windows(self) -> ChurnWindows:
        """The definition of churn."""
        return self.settings.churn.windows

    @property
    def sources(self) -> Sources:
        """Where the delivered tables are, seen from here."""
        sources = self.settings.sources
        return sources.model_copy(update={"folder": str(self.root / sources.folder)})

    def today(self) -> date:
        """Return the calendar day in the business time zone."""
        return datetime.now(ZoneInfo(self.settings.business_timezone)).date()

    def engine(self) -> AbstractContextManager[Engine]:
        """Open the engine that LAPSE_ENGINE names."""
        return open_engine()

    def activity_tables(self, engine: Engine) -> Activity:
        """Return the activity tables by name."""
        from lapse.history.activity.rollup import read_activity

        return read_activity(engine, self.paths.activity)

    @cached_property
    def inputs(self) -> Inputs:
        """What the features are made for: columns, windows, event types, features of your own."""
        from lapse.features.own import feature_inputs

        return feature_inputs(self.profile, self.windows, self.settings.features, self.root)

    def land(self) -> None:
        """Copy the sources that are not files to data/raw, where DVC sees when they change."""
        from lapse.history.landing.land import land, land_tables, require_always_changed

        wanted = self.settings.land
        named = ", ".join([*([wanted.source] if wanted.source else []), *wanted.tables])
        stage_logger("land").info(f"reading {named or 'nothing: the sources are files'}")
        require_always_changed(wanted.tables, self.root / "dvc.yaml")
        with open_duckdb() as engine:
            for name, rows in land(engine, wanted.source, self.paths.raw).items():
                stage_logger("land").info(f"{name}: {rows:,} rows")
            for name, done in land_tables(engine, wanted.tables, self.paths.raw, os.environ).items():
                stage_logger("land").info(f"{name}: {done}")

    def validate(self) -> UsabilityReport:
        """Make every source row a typed row or a counted reject, then write and return the usability report.

        DataError when too few rows of a table can be read; report and rejects are written before.
        """
        from lapse.usability.check import PAGE_NAME, RefusedReport, text_of_report, write_report

        report, page = self.check(), self.paths.reports / PAGE_NAME
        write_report(report, self.paths.reports)
        stage_logger("validate").info(f"the usability report, also in {page}:\n\n{text_of_report(report)}")
        if isinstance(report, RefusedReport):
            raise DataError(f"{report.refusal} All reasons: {page}.")
        return report

    def check(self, list_columns: Sequence[str] = ()) -> UsabilityReport | RefusedReport:
        """Validate the sources and return the usability report; writes the validated tables, or the rejects, only.

        `list_columns`: columns that the delivered customers must have, because lists will show them.
        """
        from lapse.history.validation.validate import DeliveryRefused
        from lapse.usability.check import CheckedDelivery, RefusedReport, check_delivery

        snapshots, churn = self.settings.snapshots, self.settings.churn
        with open_duckdb() as engine:
            try:
                counts, is_refused = self.validate_sources(engine, list_columns), False
            except DeliveryRefused as refused:
                counts, is_refused = refused.counts, True
            for name, count in counts.items():
                stage_logger("validate").info(f"{name}: {count}")
            return RefusedReport(counts) if is_refused else check_delivery(
                CheckedDelivery.open(engine, self.paths.validated, self.profile, counts, churn.reasons), self.windows,
                step_days=snapshots.step_days, max_cutoffs=snapshots.max_cutoffs, counted_reasons=churn.reasons,
                max_comeback=churn.max_comeback,
            )  # fmt: skip

    def validate_sources(self, engine: DuckEngine, list_columns: Sequence[str] = ()) -> dict[str, Count]:
        """Write the validated tables, the rejects and the data profile, and return the counts of every source."""
        from lapse.history.validation.validate import validate

        self.profile, counts = validate(
            engine, self.sources, self.settings.business_timezone, self.paths.validated, self.paths.usability,
            self.today(), list_columns=list_columns,
        )  # fmt: skip
        return counts

    def activity(self) -> None:
        """Roll the validated log up to one row per customer and day."""
        with self.engine() as engine:
            for name, count in self.roll_up(engine).items():
                stage_logger("activity").info(f"{name}: {count:,} rows")

    def roll_up(self, engine: Engine) -> dict[str, int]:
        """Write the activity tables and return how many rows each holds."""
        from lapse.history.activity.rollup import write_activity

        scale, reasons = self.profile.rating_scale, self.settings.churn.reasons
        return write_activity(engine, self.paths.validated, self.paths.activity, scale, reasons)

    def snapshots(self) -> None:
        """Write who is eligible at each mature cutoff."""
        from lapse.snapshots import write_snapshots

        steps = self.settings.snapshots
        with self.engine() as engine:
            counted = write_snapshots(
                engine, self.activity_tables(engine), self.paths.snapshots, windows=self.windows, period=self.period,
                step_days=steps.step_days, max_cutoffs=steps.max_cutoffs, anchor=steps.anchor_date,
            )  # fmt: skip
        stage_logger("snapshots").info(
            f"{sum(counted.values()):,} customers at {len(counted)} cutoffs, {min(counted)} to {max(counted)}"
        )

    def features(self) -> None:
        """Write the features of every snapshot, a file per cutoff."""
        from lapse.features.build import write_features
        from lapse.features.catalogue import left_out

        for family, lack in left_out(self.inputs).items():
            stage_logger("features").info(f"family {family} left out: {lack} in the data")
        with self.engine() as engine:
            tables = self.activity_tables(engine)
            write_features(engine, tables, self.paths.snapshots, self.paths.features, self.period, self.inputs)

    def labels(self) -> None:
        """Write what came of each snapshot in its outcome window, a file per cutoff."""
        from lapse.labels import write_labels

        with self.engine() as engine:
            tables = self.activity_tables(engine)
            rates = write_labels(
                engine, self.paths.snapshots, tables, self.paths.labels, windows=self.windows, period=self.period
            )
        for cutoff, rate in rates.items():
            stage_logger("labels").info(f"{cutoff}: {rate:.1%} churned")

    def leakage(self, most: int) -> LeakageReport:
        """Return the features that change when the delivery is cut at a cutoff, for up to `most` cutoffs."""
        from lapse.features.leakage import Delivered, check_leakage
        from lapse.snapshots import cutoffs_in

        known, settings, reasons = cutoffs_in(self.paths.snapshots), self.settings, self.settings.churn.reasons
        delivered = Delivered(
            self.sources, settings.business_timezone, self.today(), None if reasons is None else tuple(reasons)
        )
        chosen = known[:: max(1, -(-len(known) // most))]
        return check_leakage(delivered, chosen, windows=self.windows, section=settings.features, root=self.root)

    def retention(self) -> None:
        """Write who stays, counted on every day and in every period, and retention beside churn."""
        from lapse.comeback import measured_meaning
        from lapse.retention.page import write_page
        from lapse.retention.rate import beside_churn, print_summary, retention_periods, write_retention
        from lapse.retention.stage import measure, write_measured

        active_days, reports, folder = self.settings.retention.active_days, self.paths.reports, self.paths.retention
        with self.engine() as engine:
            tables = self.activity_tables(engine)
            periods = retention_periods(tables, self.period, active_days, self.settings.churn.mode)
            beside = beside_churn(engine, tables, self.period, self.windows, active_days)
            meaning = measured_meaning(engine, tables, self.profile, self.settings.churn)
            measured = measure(engine, tables, self.period, self.settings.retention, mode=self.settings.churn.mode)
        write_measured(measured, folder)
        write_retention(
            periods, active_days, table=folder / "crr.parquet", report=reports / "retention.json",
            plots=reports / "retention", beside=beside, meaning=meaning,
        )  # fmt: skip
        write_page(
            measured, reports / "retention.html", period=self.period, settings=self.settings.retention,
            mode=self.settings.churn.mode, beside=beside, meaning=meaning,
        )  # fmt: skip
        print_summary(periods, beside, meaning)

    def train(self) -> None:
        """Fit the evaluation model and the final model, of churn and of value."""
        from lapse.comeback import measured_meaning
        from lapse.features.catalogue import learned_features
        from lapse.labels import churn_log_odds
        from lapse.model.train import Carried, open_experiment, require_usable, write_models
        from lapse.snapshots import cutoffs_in
        from lapse.value.spend import SpendLog
        from lapse.value.value_training import print_summary, write_value_models

        train, paths = self.settings.train, self.paths
        require_usable(paths.usability)
        stage_logger("train").info("fitting the evaluation model and the final model")
        with self.engine() as engine:
            tables = self.activity_tables(engine)
            rates = churn_log_odds(engine, tables, cutoffs_in(paths.labels), self.windows, self.period)
            meaning = measured_meaning(engine, tables, self.profile, self.settings.churn)
            experiment = open_experiment(
                paths.features, paths.labels, inputs=self.inputs, windows=self.windows, train=train, rates=rates
            )
            carried = Carried(self.profile.kept_with_models, meaning)
            write_models(experiment, paths, origins=self.settings.evaluate.origins, carried=carried)
            print_summary(write_value_models(
                SpendLog(engine, tables["purchase_days"], self.period), paths,
                learned_features(self.inputs), windows=self.windows, value=self.settings.value,
                train=train, rounds=self.settings.evaluate.bootstrap_rounds,
            ))  # fmt: skip

    def evaluate(self) -> None:
        """Measure the training procedure and its baselines at test cutoffs, and record the training in MLflow."""
        from lapse.evaluation.card import write_card
        from lapse.evaluation.report import write_report
        from lapse.evaluation.summary import summary
        from lapse.registry.mlflow_registry import record_training
        from lapse.value.spend import SpendLog
        from lapse.value.value_report import AtRisk, write_value_report
        from lapse.value.value_report import print_summary as print_value_summary

        settings, paths = self.settings, self.paths
        metrics = self.backtest(paths.reports, settings.evaluate.origins)
        with self.engine() as engine:
            value = write_value_report(
                SpendLog(engine, self.activity_tables(engine)["purchase_days"], self.period), paths, windows=self.windows,
                value=settings.value, train=settings.train, rounds=settings.evaluate.bootstrap_rounds,
                at_risk=AtRisk(settings.lists, settings.score.medium_risk),
            )  # fmt: skip
        print_value_summary(value)
        metrics = {**metrics, "list_back_test": (value.get("campaign") or {}).get("list")}
        write_json(paths.reports / "metrics.json", metrics)
        write_json(paths.reports / "summary.json", summary(metrics, value))
        write_card(paths.reports, paths.models / "README.md")
        stage_logger("evaluate").info(f"all of it as a page: {write_report(paths.reports)}")
        params = settings.model_dump(include={"churn", "snapshots", "features", "train", "business_timezone"})
        run_id = record_training(
            self.root, settings.evaluate.experiment, settings.evaluate.registered_model, params, metrics, paths.models,
            paths.reports, paths.features,
        )  # fmt: skip
        stage_logger("evaluate").info(f"recorded as MLflow run {run_id}")

    def backtest(self, out: Path, origins: int) -> Mapping[str, Any]:
        """Write the back-test at up to `origins` test cutoffs to `out` and return the content of its metrics.json."""
        from lapse.evaluation.evaluate import evaluate, print_summary
        from lapse.model.bundle import Bundle

        settings, paths = self.settings, self.paths
        evaluation_model, final_model = Bundle.read(paths.evaluation_model), Bundle.read(paths.final_model)
        evaluation_model.require_windows(self.windows)
        metrics = evaluate(
            paths, evaluation_model, final_model, out, train=settings.train, promote=settings.promote,
            rounds=settings.evaluate.bootstrap_rounds, origins=origins,
        )  # fmt: skip
        print_summary(metrics)
        return metrics

    def final_bundle(self) -> Bundle:
        """Return the final model with the workspace's own features; ModelError when it was trained with others."""
        from lapse.model.bundle import Bundle

        return self.with_own_features(Bundle.read(self.paths.final_model))

    def with_own_features(self, bundle: Bundle) -> Bundle:
        """Return a model with the workspace's own features; ModelError when it was trained with others."""
        from lapse.features.own import with_own_features

        return replace(bundle, inputs=with_own_features(bundle.inputs, self.root, self.settings.features.sql))

    def score(self) -> None:
        """Give every eligible customer at `score.as_of` a calibrated churn risk and reasons."""
        from lapse.scoring.score import ScoringModel, print_summary, write_day
        from lapse.value.value_model import ValueModel

        score, value_model = self.settings.score, ValueModel.read(self.paths.final_model)
        model = ScoringModel.of(self.final_bundle(), value_model, score=score, value=self.settings.value)
        as_of = resolve_as_of(score.as_of, self.period)
        stale = self.freshness(model.bundle, as_of).require()
        with speaking(self.settings.language), held(self.paths.data, "score"), self.engine() as engine:
            activity = self.activity_tables(engine)
            scores, leaving = write_day(engine, activity, as_of, model, self.profile, self.settings, self.paths, stale)
        print_summary(scores, model.bands, len(leaving))

    def freshness(self, bundle: Bundle, as_of: date, today: date | None = None) -> Freshness:
        """Hold the tables as they were on a day against those that a model learned from; see scoring.freshness."""
        from lapse.scoring.freshness import check_freshness, tables_on

        now, also_read = tables_on(as_of, self.profile, self.paths.validated), self.settings.consent.read
        return check_freshness(bundle, now, self.settings.score, also_read=also_read, today=today)

    def scores(self) -> pd.DataFrame:
        """Return the scores; LapseError when nobody has been scored yet, or an older lapse wrote them."""
        from lapse.scoring.score import read_scores

        return read_scores(self.paths.scores)

    def lists(self) -> None:
        """Write the lists for marketing."""
        from lapse.outreach.leaving import read_leaving
        from lapse.outreach.lists import print_summary
        from lapse.outreach.scored_customers import Told
        from lapse.outreach.stage import log_heads, write_lists

        with speaking(self.settings.language), held(self.paths.data, "score"), self.engine() as engine:
            leaving, activity = read_leaving(self.paths.leaving), self.activity_tables(engine)
            withdrawn_by = self.settings.consent.withdrawn_by
            told = Told(self.scores(), leaving, activity, self.paths.validated, self.profile, withdrawn_by)
            columns, rules = self.delivered_columns(self.settings.lists.read_along), self.list_rules()
            made = write_lists(engine, told, self.paths.lists, rules, self.settings, customer_columns=columns)
        print_summary(made.at_risk, self.paths.lists)
        log_heads(made.heads)

    def retention_report(self) -> None:
        """Write segments, worth and cost of all customers, why they leave, and the page that says it."""
        from lapse.retention_report.page import write_page
        from lapse.retention_report.stage import print_summary, report, write_metrics, write_reported
        from lapse.retention_report.why import why_they_leave, write_whys
        from lapse.retention_report.why_section import why_sections

        with held(self.paths.data, "score"), self.engine() as engine:
            scores, activity = self.scores(), self.activity_tables(engine)
            reported = report(engine, activity, self.profile, self.settings, scores, self.paths.validated)
            whys = why_they_leave(
                engine, activity, self.profile, self.settings, scores, reported.kinds, self.paths.validated
            )
        write_reported(reported, self.paths.retention_report)
        write_whys(whys, self.paths.retention_report)
        write_metrics(reported, self.paths.reports / "retention_report.json")
        write_page(reported, why_sections(whys), self.paths.reports / "retention_report.html", self.settings)
        print_summary(reported, self.settings.retention_report.period_days)

    def list_rules(self) -> ListRules:
        """Return all that decides who is on a list and what is said of it, by params and the evaluation."""
        from lapse.outreach.rules import ListRules
        from lapse.outreach.verdict import Verdict

        settings = self.settings
        return ListRules(settings.lists, settings.value.budget, self.windows, Verdict.read(self.paths.metrics))

    def consent_now(self) -> ConsentRecord | None:
        """Return what the delivered customers say of consent, read anew; None without any. Withdrawals are not in it."""
        from lapse.outreach.exports import delivered_consent

        return delivered_consent(self.sources, self.settings.business_timezone, self.today(), self.paths.validated)

    def delivered_columns(self, wanted: Sequence[str]) -> pd.DataFrame | None:
        """Return some columns of the delivered customers, read anew; None without any."""
        from lapse.history.validation.customer_columns import read_customer_columns

        given = (self.settings.business_timezone, self.today(), self.paths.validated)
        with open_duckdb() as engine:
            return read_customer_columns(engine, self.sources, wanted, *given) if wanted else None
