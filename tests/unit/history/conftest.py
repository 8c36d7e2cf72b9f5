"""The fixtures of this folder."""

from tests.unit.history.history_cases import folder, run_validate

__all__ = ["folder", "run_validate"]
