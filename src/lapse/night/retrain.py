"""Training anew from the command line, by the same stages as `dvc repro`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lapse.core.errors import LapseError
from lapse.core.logging import stage_logger

LOG = stage_logger("retrain")


def train_anew(root: Path) -> None:
    """Run DVC's stages up to evaluate, logging what they say line by line; LapseError when one fails."""
    command = [sys.executable, "-m", "dvc", "repro", "evaluate"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        for line in running.stdout or ():
            if line.strip():
                LOG.info(line.rstrip())
    if running.returncode:
        raise LapseError(f"retrain: `dvc repro evaluate` failed (exit code {running.returncode}); what it said is above. "
                         "The champion stays.")  # fmt: skip
