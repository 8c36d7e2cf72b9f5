"""Stage train: the evaluation model and the final model, for churn and for value."""

from lapse.core.process import run
from lapse.workspace import Workspace


def main() -> None:
    """Run the stage in this folder."""
    Workspace().train()


if __name__ == "__main__":
    run(main)
