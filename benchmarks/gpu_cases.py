"""Ways to train that gpu.py measures: settings of ours and of rivals."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

IMAGES = (256, 128, 32)
"""Of a step."""


@dataclass(frozen=True)
class Case:
    """One way to train."""

    loop: str
    """plain, timm, deepspeed or ours."""
    images: int
    """Of a step."""
    model: str = "resnet50"
    image_size: int = 224
    precision: str = "bf16"
    device: str = "cuda"
    channels_last: bool = True
    """Weights; images are so too, except with the rivals' weights."""
    fused: bool = True
    """SGD by one kernel; else PyTorch's default, foreach on a GPU."""
    benchmark: bool = True
    """cudnn.benchmark; of ours it is the opposite of `deterministic`."""
    compile: str = "none"
    cuda_graphs: bool = False
    engine: str = ""
    """Of ours."""
    workers: int = 1
    """Of ours: each one's images are a BatchNorm batch."""
    workers_per_pass: int = 1
    """Of ours."""


def settings_of(case: Case) -> dict[str, Any]:
    """What a case is, without what does not apply."""
    return {name: value for name, value in asdict(case).items() if value not in ("", "none")}


def case_of(row: dict[str, Any]) -> Case:
    """The case of a row, also of one that was read from a file."""
    convert = {"bool": lambda text: text == "True", "int": int, "str": str}
    return Case(**{field.name: convert[field.type](str(row[field.name])) for field in fields(Case)})


def rivals(images: int) -> list[Case]:
    """One axis after the other from the usual best, and combinations that may be better."""
    base = Case("plain", images)
    timm = replace(base, loop="timm")
    return [
        base,
        replace(base, channels_last=False),
        replace(base, fused=False),
        replace(base, benchmark=False),
        replace(base, cuda_graphs=True),
        replace(base, compile="default"),
        replace(base, compile="default", cuda_graphs=True),
        replace(base, compile="reduce-overhead"),
        timm,
        replace(timm, channels_last=False),
        replace(timm, fused=False),
        replace(timm, compile="default"),
        replace(base, compile="max-autotune"),
        replace(timm, compile="max-autotune"),
    ]


def neighbours(case: Case) -> list[Case]:
    """What differs from a setting by one axis that is cheap to try."""
    return [replace(case, **{name: not getattr(case, name)}) for name in ("fused", "benchmark", "channels_last")]


def own(images: int) -> list[Case]:
    """Ours: deterministic (benchmark false) and not, either engine, compiled, captured, and with several workers."""
    base = Case("ours", images, engine="deepspeed")
    ddp, fixed = replace(base, engine="ddp"), replace(base, benchmark=False)
    cases = [
        base,
        fixed,
        ddp,
        replace(base, cuda_graphs=True),
        replace(fixed, cuda_graphs=True),
        replace(base, compile="default"),
        replace(base, compile="default", cuda_graphs=True),
        replace(fixed, compile="default"),
        replace(ddp, compile="default"),
        replace(ddp, benchmark=False),
        replace(base, channels_last=False),
        replace(base, fused=False),
        replace(base, compile="reduce-overhead"),
        replace(base, compile="max-autotune"),
    ]
    if images == max(IMAGES):  # as workers of 128 and of 32 images
        for workers in (2, 8):
            for together in (each for each in (1, 2, 4, 8) if each <= workers):
                cases.append(replace(base, workers=workers, workers_per_pass=together))
        together = replace(base, workers=8, workers_per_pass=8)
        cases += [replace(together, compile="default"), replace(together, cuda_graphs=True)]
    return cases


def deepspeeds(images: int) -> list[Case]:
    """DeepSpeed by itself: what it refuses."""
    base = Case("deepspeed", images)
    return [base, replace(base, channels_last=False)]


def plan(images: int) -> list[Case]:
    """All settings at one number of images, the telling ones first."""
    mine, theirs = own(images), rivals(images)
    by_cost = [*theirs[:5], *mine[:5], *deepspeeds(images), *theirs[5:12], *mine[5:12], *mine[14:]]
    return [*by_cost, *theirs[12:], *mine[12:14]]


def quick_plan(device: str) -> list[Case]:
    """A setting of each kind, small."""
    small = {"model": "resnet18", "image_size": 32, "device": device}
    plain, mine = Case("plain", 8, **small), Case("ours", 8, engine="deepspeed", **small)
    return [
        plain,
        replace(plain, channels_last=False, fused=False, benchmark=False),
        replace(plain, loop="timm"),
        mine,
        replace(mine, engine="ddp", benchmark=False),
        replace(mine, workers=4, workers_per_pass=2),
        *(Case("deepspeed", 8, channels_last=each, **small) for each in (True, False)),
        replace(mine, compile="default", workers=2, workers_per_pass=2),
    ]
