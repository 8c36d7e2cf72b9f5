"""Stage land: sources that are not files are copied to data/raw, where DVC sees when they change."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().land()


if __name__ == "__main__":
    run(main)
