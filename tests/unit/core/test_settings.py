from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lapse.core.errors import SettingsError
from lapse.core.settings import load_settings
from tests.conftest import ROOT

PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
THRESHOLDS = PARAMS[PARAMS.index("  high_risk:") : PARAMS.index("\n\nlists:")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  seed: 7", "  sead: 7", "unknown key 'train.sead'. Did you mean 'seed'?"),
        ("land:\n  source: complete_journey", "land:\n  source: complete_jorney", "land.source"),
        ("  horizon_days: 30", "", "the key 'churn.horizon_days' is missing"),
        ("  horizon_days: 30", "  horizon_days: -3", "churn.horizon_days: Input should be greater than 0"),
        ("  horizon_days: 30", "  horizon_days: thirty", "churn.horizon_days"),
        ("  horizon_days: 30", "  horizon_days: 30.5", "churn.horizon_days"),
        ("  until: null", "  until: 2017-10-31", 'sources.until is a bare date. Put it in quotes: "2017-10-31"'),
        ("  until: null", '  until: "31.10.2017"', "sources.until: '31.10.2017' is not a day"),
        ("  as_of: latest", '  as_of: "last"', "score.as_of: 'last' is not a day"),
        ("America/New_York", "America/NewYork", "'America/NewYork' is not a time zone"),
        ("      amount: sales_value", "      amonut: sales_value", "unknown column 'amonut'. Did you mean 'amount'?"),
        ("      customer_id: household_id\n      ordered_at", "      ordered_at", "nothing is mapped to 'customer_id'"),
        ("  windows: auto ", "  windows: [90, 30] ", "the shortest first"),
        ("    coupon: [coupon_redeemed, campaign_received]", "    coupon: [coupon_redeemed]", "features.responses.coupon"),
        ("  high_risk: auto ", "  high_risk: often ", "score.high_risk: Input should be a valid number, or 'auto', not 'often'"),
        ("  windows: auto ", "  windows: often ", "features.windows: Input should be a valid list, or 'auto', not 'often'"),
        ("  windows: auto ", "  windows: [30, x] ", "features.windows.1: Input should be a valid integer"),
        (THRESHOLDS, "  high_risk: 0.5\n  medium_risk: 0.9", "medium_risk must be below high_risk"),
        ("  high_risk: auto ", "  high_risk: 50 ", "score.high_risk: Input should be less than or equal to 1, or 'auto', not 50"),
        ("  max_log_age: {} ", "  max_log_age: {evnts: 7} ", "score.max_log_age: no table 'evnts' is mapped. Did you mean 'events'?"),
        ("  max_log_age: {} ", "  max_log_age: {events: -1} ", "score.max_log_age.events: Input should be greater than or equal to 0"),
        ("  when_stale: refuse ", "  when_stale: ignore ", "score.when_stale: Input should be 'refuse' or 'warn', not 'ignore'"),
        ("train:", "train:\n  seed: 1", "not valid YAML"),
        ("train:", "\ttrain:", "not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in PARAMS
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        load_settings(path)
    assert said in str(raised.value)


def test_what_came_later_may_be_absent(tmp_path: Path) -> None:
    later = ("  max_log_age:", "  when_stale:", "consent:", "  withdrawn_by:")
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(line for line in PARAMS.splitlines() if not line.startswith(later)), encoding="utf-8")
    settings = load_settings(path)
    assert (settings.score.max_log_age, settings.score.when_stale, settings.consent.withdrawn_by) == ({}, "refuse", [])


def test_withdrawals_need_events(tmp_path: Path) -> None:
    path, start = tmp_path / "params.yaml", PARAMS.index("  events:")
    without = PARAMS[:start] + "  events: null\n" + PARAMS[PARAMS.index("  feedback:") :]
    path.write_text(without.replace("withdrawn_by: []", "withdrawn_by: [unsubscribe]"), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"consent.withdrawn_by names event types, but sources.events is null"):
        load_settings(path)


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "holds no settings"), (b"- 1\n", "holds no settings"), (b"\xff\xfe\x00", "UTF-8")]
)
def test_a_file_that_is_no_settings(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=said):
        load_settings(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="in the folder that holds"):
        load_settings(tmp_path / "params.yaml")


def test_params_of_an_earlier_lapse_are_still_read(tmp_path: Path) -> None:
    """What came later has a default, and no stage watches a key that such params lack: DVC would refuse them."""
    yaml = YAML(typ="safe")
    params = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["lists"] = {"min_risk": "auto", "max_customers": 500}
    params["score"] = {name: params["score"][name] for name in ("as_of", "high_risk", "medium_risk")}
    params["features"] = {"windows": "auto", "responses": {}}
    del params["retention_report"]
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    assert load_settings(tmp_path / "params.yaml").lists.columns == []
    for stage in yaml.load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values():
        for key in (key for key in stage["params"] if isinstance(key, str)):
            value = params
            for part in key.split("."):
                value = value[part]
