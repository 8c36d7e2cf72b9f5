"""Stage retention: the customer retention rate of every whole month and quarter."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().retention()


if __name__ == "__main__":
    run(main)
