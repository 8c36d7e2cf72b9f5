"""Pictures are read at a glance: nothing of one may be cut off at its edge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import image

from lapse.core.bootstrap import Difference
from lapse.core.charts import draw_differences
from lapse.evaluation.baselines import BASELINES


def test_no_label_runs_over_the_edge(tmp_path: Path) -> None:
    path = tmp_path / "differences.png"
    draw_differences({baseline.name: Difference(0.2, (0.15, 0.4)) for baseline in BASELINES}, path)
    picture = image.imread(path)
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    assert all(np.array_equal(edge, np.ones_like(edge)) for edge in edges)
