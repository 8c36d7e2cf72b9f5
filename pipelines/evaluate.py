"""Stage evaluate: the training procedure against baselines at test cutoffs it had not seen, recorded in MLflow."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().evaluate()


if __name__ == "__main__":
    run(main)
