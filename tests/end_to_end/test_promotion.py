"""The champion by the command line, on a copy of the trained project: refused, forced, scored by, rolled back."""

from __future__ import annotations

import shutil
from pathlib import Path

from lapse.core.files import read_json
from tests.end_to_end.conftest import in_folder


def test_promote_score_and_roll_back(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "my project"
    shutil.copytree(project, copy, symlinks=True, ignore=shutil.ignore_patterns("cache", "raw"))
    params = (copy / "params.yaml").read_text(encoding="utf-8")

    done = in_folder(copy, "lapse", "promote", "--force", check=False)
    assert done.returncode == 2 and "--force needs --reason" in done.stderr
    (copy / "params.yaml").write_text(params.replace("horizon_days: 30", "horizon_days: 60"), encoding="utf-8")
    done = in_folder(copy, "lapse", "promote", check=False)
    assert done.returncode == 5 and "promote: FAIL  definition" in done.stdout and "pass  maturity" in done.stdout
    assert done.stderr.startswith("lapse: promote: the gate refused version 1")
    (copy / "params.yaml").write_text(params, encoding="utf-8")
    done = in_folder(copy, "lapse", "score", "--model", "champion", check=False)
    assert done.returncode == 4 and "has no champion" in done.stderr

    said = in_folder(copy, "lapse", "promote", "--force", "--reason", "a first champion").stdout
    assert "promote: champion is now version 1" in said
    in_folder(copy, "lapse", "score", "--out", "nightly")
    manifest = read_json(copy / "nightly/latest/manifest.json")
    assert manifest["model"]["origin"] == {"from": "champion", "registered_model": "lapse", "registered_version": 1}
    for ours, theirs in (("scores.parquet", "scores/scores.parquet"), ("lists/at_risk.csv", "lists/at_risk.csv")):
        assert (copy / "nightly/latest" / ours).read_bytes() == (project / "data" / theirs).read_bytes(), ours

    done = in_folder(copy, "lapse", "rollback", check=False)
    assert done.returncode == 4 and "no champion before the present one" in done.stderr
    assert len((copy / "models/promotions.jsonl").read_text(encoding="utf-8").splitlines()) == 2
