"""Training anew from the command line, by the same stages as `dvc repro`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lapse.core.errors import LapseError


def train_anew(root: Path) -> None:
    """Run DVC's stages up to evaluate, showing what they say; LapseError when one fails."""
    done = subprocess.run([sys.executable, "-m", "dvc", "repro", "evaluate"], cwd=root, check=False)
    if done.returncode:
        raise LapseError(f"retrain: `dvc repro evaluate` failed (exit code {done.returncode}); what it said stands above. "
                         "The champion stays.")  # fmt: skip
