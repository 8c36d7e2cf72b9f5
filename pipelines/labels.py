"""Stage labels: what came of each snapshot in its outcome window."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().labels()


if __name__ == "__main__":
    run(main)
