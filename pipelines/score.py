"""Stage score: every eligible customer at as_of gets a calibrated churn risk and its reasons."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().score()


if __name__ == "__main__":
    run(main)
