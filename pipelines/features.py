"""Stage features: one column per feature for every snapshot."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().features()


if __name__ == "__main__":
    run(main)
