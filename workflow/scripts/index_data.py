"""Index a data set once: compare it with the declared sizes and look at its images before any training."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.records import write_atomic
from warmscale.training.tree import DataError, check_images, compare_with_declared, index_text, list_tree


def index_data(*, root: Path, declared: dict[str, int], check: str, index: Path) -> None:
    """Write the index of a tree; raises DataError where the tree is not as declared or an image cannot be read."""
    listed = list_tree(root)
    compare_with_declared(listed, declared)
    check_images(root, listed["train"] + listed["val"], check)
    write_atomic(index, index_text(listed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path, help="folder of the tree")
    parser.add_argument("--index", required=True, type=Path, help="file to write")
    parser.add_argument("--declared", required=True, type=json.loads, help="declared sizes, as JSON")
    parser.add_argument("--check", required=True, choices=["none", "ends", "decode"], help="how to look at images")
    try:
        index_data(**vars(parser.parse_args()))
    except DataError as error:
        sys.exit(str(error))
