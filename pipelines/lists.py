"""Stage lists: what marketing is handed."""

from lapse.core.errors import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().lists()


if __name__ == "__main__":
    run(main)
