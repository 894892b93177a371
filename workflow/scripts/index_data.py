"""Index a data set once: pack it if that is wanted, compare it with the declared sizes and look at its images."""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from warmscale.records import write_atomic
from warmscale.training import pack as packs
from warmscale.training.packing import make_pack
from warmscale.training.tree import DataError, check_images, compare_with_declared, index_text, list_tree


def index_data(
    *,
    root: Path,
    declared: dict[str, int],
    check: str,
    index: Path,
    pack: Path | None = None,
    reencode: dict[str, int] | None = None,
    jobs: int | None = None,
) -> None:
    """Write the index of a tree or a pack; raises DataError where it is not as declared or cannot be read."""
    if packs.is_pack(root):
        if pack:
            raise DataError(f"dataset.root: {root} is a pack already; leave dataset.pack out, or give the tree as root")
    elif pack and root.is_dir():  # the tree of a whole pack may be gone
        in_tree = list_tree(root)
        compare_with_declared(in_tree, declared)  # a mistake is found before hours of packing
        make_pack(root, pack, listed=in_tree, reencode=reencode, jobs=jobs)
    elif not pack:
        packs.check_tree(root, reencode)
    place = pack or root
    listed = packs.listed(place) if packs.is_pack(place) else list_tree(place)
    compare_with_declared(listed, declared)
    if not packs.is_pack(place):
        check_images(root, listed["train"] + listed["val"], check)
    else:
        packs.compare_reencode(place, reencode)
        if check == "decode":
            packs.check_pack(place)
    if str(index) != os.devnull:
        write_atomic(index, index_text(listed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path, help="folder of the tree or pack")
    parser.add_argument("--pack", type=Path, help="folder to pack the tree into")
    parser.add_argument("--jobs", type=int, help="processes that pack; default: one a core")
    parser.add_argument("--reencode", type=json.loads, help="how large images are coded anew, as JSON")
    parser.add_argument("--index", required=True, type=Path, help="file to write")
    parser.add_argument("--declared", required=True, type=json.loads, help="declared sizes, as JSON")
    parser.add_argument("--check", required=True, choices=["none", "ends", "decode"], help="how to look at images")
    try:
        index_data(**vars(parser.parse_args()))
    except DataError as error:
        sys.exit(str(error))
