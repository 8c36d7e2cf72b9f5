"""A manifest describes the files beside it and what they were made of, or it is not there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lapse import nightly
from lapse.core.errors import DataError, Locked
from lapse.core.process import held
from lapse.nightly import score_once
from lapse.workspace import Workspace
from tests.unit.scoring.test_freshness import shop
from tests.unit.scoring.test_required_inputs import trained

__all__ = ["shop", "trained"]


@pytest.mark.slow
def test_a_manifest_tells_the_truth_or_is_gone(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path("data")
    told = score_once(Path(), out)
    assert json.loads((out / "scores/manifest.json").read_text(encoding="utf-8")) == told
    for name, said in told["outputs"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == said

    delivered, validate = Path("delivery/events.csv"), Workspace.validate_sources
    before = (out / "scores/scores.parquet").read_bytes()

    def replaced_meanwhile(self: Workspace, engine: Any) -> Any:
        counts = validate(self, engine)
        delivered.write_text(delivered.read_text(encoding="utf-8").rstrip("\n") + "\n", encoding="utf-8")
        delivered.write_bytes(delivered.read_bytes() + b"\n")
        return counts

    with monkeypatch.context() as patched:
        patched.setattr(nightly.Workspace, "validate_sources", replaced_meanwhile)
        with pytest.raises(DataError, match=r"sources.events: the files were replaced while they were read"):
            score_once(Path(), out)
    assert (out / "scores/scores.parquet").read_bytes() == before and (out / "scores/manifest.json").exists()

    with held(out, "score"):
        for blocked in (lambda: score_once(Path(), out), shop.score, shop.lists):
            with pytest.raises(Locked, match="another run is writing to data"):
                blocked()
    assert (out / "scores/manifest.json").exists()
    Workspace().validate()
    Workspace().activity()
    Workspace().score()
    assert not (out / "scores/manifest.json").exists()
