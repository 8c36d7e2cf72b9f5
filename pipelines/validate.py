"""Stage validate: every source row becomes a typed row or a counted reject with a reason."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().validate()


if __name__ == "__main__":
    run(main)
