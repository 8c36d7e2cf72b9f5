"""Stage snapshots: which customers are looked at, at which cutoff."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().snapshots()


if __name__ == "__main__":
    run(main)
