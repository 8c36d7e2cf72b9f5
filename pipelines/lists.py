"""Stage lists: the customers at risk, ranked, for marketing."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().lists()


if __name__ == "__main__":
    run(main)
