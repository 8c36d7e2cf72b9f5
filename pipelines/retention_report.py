"""Stage retention_report: segments, what customers are worth and cost, and what retention is worth, after score."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().retention_report()


if __name__ == "__main__":
    run(main)
