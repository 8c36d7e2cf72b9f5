"""Stage activity: the log rolled up once to one row per customer and day."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().activity()


if __name__ == "__main__":
    run(main)
