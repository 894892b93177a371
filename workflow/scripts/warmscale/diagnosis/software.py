"""Python and the packages that warmscale declares in pyproject.toml."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from .findings import Lines, ask, fail, first_line, ok, some, warn

if TYPE_CHECKING:
    from ..cluster.site import Site

OLDEST_PYTHON = (3, 11)
PYPROJECT = Path(__file__).resolve().parents[4] / "pyproject.toml"
IMPORT_SEC = 120.0
"""For torch to be imported from a file system that others use as well."""
SHOWN = ("snakemake", "torch", "torchvision", "deepspeed", "numpy")


def software(site: Site) -> Lines:
    """Lines about the Python that runs Snakemake, and the one that runs the ranks."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield fail("python", f"{sys.executable} is {version}; make an environment with 3.11 or newer")
    else:
        yield ok("python", f"{version}, {sys.executable}")
    if wrong := wrong_packages(requirements()):
        yield fail("packages", f"{'; '.join(wrong)}; `pip install -e .` in {PYPROJECT.parent} brings them")
    else:
        yield ok("packages", some((f"{name} {metadata.version(name)}" for name in SHOWN), len(SHOWN)))
    if site.scheduler != "local":
        yield from _plugin(site.scheduler)
    yield from _interpreter_of_ranks(site)


def requirements() -> list[str]:
    """What pyproject.toml needs; of an installation without it, what that says."""
    if PYPROJECT.is_file():
        return tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    try:
        return [line for line in metadata.requires("warmscale") or () if "extra ==" not in line]
    except metadata.PackageNotFoundError:
        return []


def wrong_packages(needed: Sequence[str]) -> list[str]:
    """What is missing or too old, in words."""
    from packaging.requirements import Requirement

    found = []
    for requirement in map(Requirement, needed):
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found.append(f"{requirement.name} is not installed, {requirement.specifier} is needed")
            continue
        # a build of torch for a GPU is 2.11.0+cu128 or 2.11.0a0
        if not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement.name} is {version}, {requirement.specifier} is needed")
    return found


def _plugin(scheduler: str) -> Lines:
    package, module = f"snakemake-executor-plugin-{scheduler}", f"snakemake_executor_plugin_{scheduler}"
    if importlib.util.find_spec(module) is None:
        yield fail("snakemake plugin", f"{module} cannot be imported by {sys.executable}; `pip install {package}`")
    else:
        yield ok("snakemake plugin", f"{package} {metadata.version(package)}")


def _interpreter_of_ranks(site: Site) -> Lines:
    what = "python of ranks"
    if site.container:
        image, runtime = Path(site.container.image), site.container.runtime
        if not image.exists():
            yield fail(
                what, f"container.image: {image} is not there; make it with `{runtime} build`, or mend site.yaml"
            )
        elif not shutil.which(runtime):
            yield warn(
                what, f"{runtime} is not on the PATH here; if it is not on the nodes either, `setup` must load it"
            )
        else:
            yield ok(what, f"{site.python or 'python3'} in {image}, {first_line(ask([runtime, '--version']).text)}")
        return
    if not site.python:
        yield ok(what, "the same as here")
        return
    if not shutil.which(site.python):
        yield fail(what, f"python: {site.python} is no program here; mend it in site.yaml, or write null for the same")
        return
    packages = "import sys, torch, deepspeed; print(sys.version.split()[0], torch.__version__, deepspeed.__version__)"
    answer = ask([site.python, "-c", packages], IMPORT_SEC)
    last = answer.text.rpartition("\n")[2]
    if answer.code:
        yield fail(what, f"python: {site.python} lacks what ranks import: {last}; install warmscale's packages there")
    else:
        python, torch, deepspeed = last.split()
        yield ok(what, f"{site.python}: {python}, torch {torch}, deepspeed {deepspeed}")


def trained_bytes(model: str, num_classes: int) -> int:
    """Bytes of the weights of a model in fp32, without making them."""
    import torch

    from ..training.model import build_model

    with torch.device("meta"):
        built = build_model(model, num_classes=num_classes, zero_init_residual=False, init_seed=1)
    return 4 * sum(weights.numel() for weights in built.state_dict().values())
