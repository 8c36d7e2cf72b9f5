"""Stage evaluate: the recipe against its rivals at test cutoffs it had not seen, and the MLflow record of it all."""

from lapse.core.errors import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().evaluate()


if __name__ == "__main__":
    run(main)
