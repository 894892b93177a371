"""Index a data set once: compare it with the declared sizes and look at its images before any training."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))


def index_data(*, root: Path, declared: dict[str, int], check: str, index: Path) -> None:
    """Write the index of a tree; raises DataError where the tree is not as declared or an image cannot be read."""
    from warmscale.records import write_atomic
    from warmscale.training.tree import check_images, compare_with_declared, index_text, list_tree

    listed = list_tree(root)
    compare_with_declared(listed, declared)
    check_images(root, listed["train"] + listed["val"], check)
    write_atomic(index, index_text(listed))


if __name__ == "__main__":
    from warmscale.training.tree import DataError

    given = snakemake.params  # noqa: F821
    try:
        index_data(
            root=Path(given.root), declared=given.declared, check=given.check, index=Path(snakemake.output.index)  # noqa: F821
        )
    except DataError as error:
        sys.exit(str(error))
