"""`warmscale pack`: an ImageFolder tree in a few large files."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

EXPLANATION = """\
Pixels stay the same, bit for bit: each image is compared before it is written. With `jpegtran` on the PATH (Debian:
libjpeg-turbo-progs) JPEGs are coded so that only the part that a crop needs has to be decoded. Killed at any moment,
the same command goes on. `dataset.pack` in a config makes the workflow do all this.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `warmscale`."""
    parser = commands.add_parser(
        "pack",
        help="put an ImageFolder tree into a few large files",
        description="Put an ImageFolder tree into a few large files, from which training reads faster.",
        epilog=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tree", type=Path, metavar="TREE", help="folder with train/<class>/* and val/<class>/*")
    parser.add_argument("pack", type=Path, metavar="PACK", help="folder to make, or to go on with")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes; default: one a core")
    parser.add_argument(
        "--longest-side",
        type=int,
        metavar="PIXELS",
        help="code images with a longer side anew; such a pack is for configs with dataset.reencode",
    )
    parser.add_argument("--quality", type=int, default=90, help="of those (90)")
    parser.add_argument("--check", action="store_true", help="read all of a pack that is there and compare checksums")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Make a pack, go on with it, or check it."""
    from ..cli import UserError
    from ..training.pack import PACK, check_pack
    from ..training.packing import make_pack
    from ..training.tree import DataError

    if arguments.jobs is not None and arguments.jobs < 1:
        raise UserError(f"--jobs is {arguments.jobs}, must be at least 1")
    if not shutil.which("jpegtran"):
        print("jpegtran is not on the PATH: the pack will be right, but slower to read", file=sys.stderr)
    try:
        if arguments.check and (arguments.pack / PACK).is_file() and not arguments.tree.exists():
            check_pack(arguments.pack)  # the tree of a whole pack may be gone
            print(f"{arguments.pack}: is a whole pack, and its checksums are right; its tree is not there")
            return 0
        made = make_pack(arguments.tree, arguments.pack, reencode=_reencode(arguments), jobs=arguments.jobs)
        if arguments.check and not made:
            check_pack(arguments.pack)
    except DataError as error:
        raise UserError(str(error)) from error
    except KeyboardInterrupt:
        raise UserError("stopped; the same command goes on from there") from None
    whole = "packed and verified" if made else "is a whole pack of this tree already"
    checked = ", and its checksums are right" if arguments.check and not made else ""
    print(f"{arguments.pack}: {whole}{checked}; write it as dataset.root, or as dataset.pack beside the tree")
    return 0


def _reencode(arguments: argparse.Namespace) -> dict[str, int] | None:
    """What the config calls dataset.reencode; raises UserError where it would refuse it."""
    from pydantic import ValidationError

    from ..cli import UserError
    from ..study.config import Reencode

    if arguments.longest_side is None:
        return None
    try:
        return Reencode(longest_side=arguments.longest_side, quality=arguments.quality).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--{first['loc'][0].replace('_', '-')}: {first['msg']}") from error
