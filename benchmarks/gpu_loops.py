"""One competitor of gpu.py in a process of its own: reads numbers of steps, answers with seconds.

Started as `python gpu_loops.py '{"loop": "plain", ...}'`, the fields of Case.

- plain: a training loop as PyTorch's tutorials have it, with the loss kept on the device and never looked at. Its CUDA
  graph is of the whole step, optimizer included, as PyTorch's notes on whole-network capture have it.
- timm: timm's model, optimizer and loss in the loop of its training script, without what that does besides (averages,
  logging). The script itself is in no package of timm's.
- deepspeed: DeepSpeed's stage 0 as its documentation has it.
- ours: the step of a run: normalising uint8 images, loss and accuracy, audit, averages and requests to stop.

All train on one batch that is on the device already, in the precision of the case. Only ours gets it as uint8.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
from gpu_cases import Case

sys.path.insert(0, str(common.REPOSITORY / "workflow/scripts"))
CLASSES = 1000
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SGD = {"momentum": 0.9, "weight_decay": 5e-5}
LEARNING_RATE = 0.01
Step = Callable[[], Any]


def main() -> None:
    """Make the competitor ready and serve; a line of JSON for each request, the first of them when it is ready."""
    case = Case(**json.loads(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries talk
    import torch

    device = torch.device(case.device, 0) if case.device == "cuda" else torch.device("cpu")
    synchronize = torch.cuda.synchronize if case.device == "cuda" else (lambda: None)
    torch.backends.cudnn.benchmark = case.benchmark
    with tempfile.TemporaryDirectory(prefix="warmscale-gpu-") as folder:
        try:
            step = {"plain": plain, "timm": timm_loop, "deepspeed": deepspeeds_own, "ours": ours}[case.loop](
                case, device, Path(folder)
            )
            for _ in range(3):
                step()
            synchronize()
        except Exception as error:
            import traceback

            traceback.print_exc()
            print(json.dumps({"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}), file=answers)
            return
        print(json.dumps({}), file=answers, flush=True)
        for line in sys.stdin:
            started = time.perf_counter()
            for _ in range(int(line)):
                step()
            synchronize()
            elapsed = time.perf_counter() - started
            peak = torch.cuda.max_memory_reserved() / 2**30 if case.device == "cuda" else 0.0
            print(json.dumps({"seconds": elapsed, "peak_gib": peak}), file=answers, flush=True)


def batch(case: Case, device: Any) -> tuple[Any, Any]:
    """Random uint8 images, channels_last, and labels.  # (N, 3, H, W), (N,)"""
    import torch

    generator = torch.Generator().manual_seed(0)
    shape = (case.images, case.image_size, case.image_size, 3)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator).to(device)
    return pixels.permute(0, 3, 1, 2), (torch.arange(case.images) % CLASSES).to(device)


def normalised_batch(case: Case, device: Any) -> tuple[Any, Any]:
    """The same, as the rivals' models take it: normalised already, and in the layout of the weights."""
    import torch

    images, labels = batch(case, device)
    mean, std = (255 * torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    layout = torch.channels_last if case.channels_last else torch.contiguous_format
    return images.float().sub_(mean).div_(std).contiguous(memory_format=layout), labels


def laid_out(model: Any, case: Case, device: Any) -> Any:
    """A model on the device."""
    import torch

    layout = torch.channels_last if case.channels_last else torch.contiguous_format
    return model.to(device=device, memory_format=layout).train()


def autocast(case: Case) -> contextlib.AbstractContextManager:
    """The precision; without the cache of weights where a graph is captured, which cannot use it."""
    import torch

    if case.precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(case.device, dtype=torch.bfloat16, cache_enabled=not case.cuda_graphs)


def compiled(model: Any, case: Case) -> Any:
    """A model, compiled if so asked."""
    import torch

    if case.compile == "none":
        return model
    return torch.compile(model, mode=None if case.compile == "default" else case.compile)


def plain(case: Case, device: Any, _: Path) -> Step:
    """As PyTorch's tutorials have it."""
    import torch

    from warmscale.training.model import build_model

    model = build_model(case.model, num_classes=CLASSES, zero_init_residual=False, init_seed=1)
    model = laid_out(model, case, device)
    rate = torch.tensor(LEARNING_RATE, device=device) if case.cuda_graphs else LEARNING_RATE  # a schedule fills it
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, fused=case.fused or None, **SGD)
    return loop(case, device, compiled(model, case), torch.nn.functional.cross_entropy, optimizer)


def timm_loop(case: Case, device: Any, _: Path) -> Step:
    """timm's parts, put together as its training script does."""
    import timm
    import torch
    from timm.optim import create_optimizer_v2

    model = laid_out(timm.create_model(case.model, num_classes=CLASSES), case, device)
    own = {"fused": True} if case.fused else {}
    momentum, weight_decay = SGD["momentum"], SGD["weight_decay"]
    optimizer = create_optimizer_v2(
        model, opt="momentum", lr=LEARNING_RATE, momentum=momentum, weight_decay=weight_decay, **own
    )
    return loop(case, device, compiled(model, case), torch.nn.CrossEntropyLoss().to(device), optimizer)


def loop(case: Case, device: Any, model: Any, criterion: Any, optimizer: Any) -> Step:
    """Forward, backward, update."""
    images, labels = normalised_batch(case, device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(case):
            loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()

    return captured(step) if case.cuda_graphs else step


def captured(step: Step) -> Step:
    """The whole step as one CUDA graph."""
    import torch

    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def deepspeeds_own(case: Case, device: Any, folder: Path) -> Step:
    """As DeepSpeed's tutorials have it, without clipping, which the others do not do either."""
    import torch

    from warmscale.training.model import build_model

    join(device, folder)
    import deepspeed
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # compiles for a minute on a CPU
    model = build_model(case.model, num_classes=CLASSES, zero_init_residual=False, init_seed=1)
    model = laid_out(model, case, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, fused=case.fused or None, **SGD)
    config = {"train_micro_batch_size_per_gpu": case.images, "gradient_clipping": 0.0}
    config |= {"zero_allow_untested_optimizer": True}
    config |= {"torch_autocast": {"enabled": True, "dtype": "bfloat16"}} if case.precision == "bf16" else {}
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    images, labels = normalised_batch(case, device)

    def step() -> None:
        engine.backward(torch.nn.functional.cross_entropy(engine(images), labels))
        engine.step()

    return step


def join(device: Any, folder: Path) -> Any:
    """A group of one rank."""
    from warmscale.cluster.discovery import Rank
    from warmscale.training.ranks import join_ranks

    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="localhost", MASTER_PORT="0")
    rank = Rank(0, 1, local_rank=0)
    join_ranks(rank, device, folder / "meeting.json")
    return rank


def ours(case: Case, device: Any, folder: Path) -> Step:
    """A run's own step; only the images come from nowhere."""
    import numpy as np

    from warmscale.training.loader import MicroBatch
    from warmscale.training.loop import Loop
    from warmscale.training.step import take_step

    training = training_of(case, device, folder)
    run, numbers, (images, labels) = Loop(training), iter(range(10**9)), batch(case, device)
    size = training.images_per_pass
    passes = [
        MicroBatch(np.arange(first, first + size), images[first : first + size], labels[first : first + size])
        for first in range(0, case.images, size)
    ]

    def step() -> None:
        number = next(numbers)
        expected = run._expected(number, measure=number == 0)
        vitals = take_step(training, expected, iter(passes), stop=False)
        run.end_step(number, vitals)

    return step


def training_of(case: Case, device: Any, folder: Path) -> Any:
    """What a rank sets up for such a run; its data set has names but no files."""
    placement = {
        "engine": case.engine,
        "device": case.device,
        "deterministic": not case.benchmark,
        "channels_last": case.channels_last,
        "fused_optimizer": case.fused,
        "compile": case.compile,
        "cuda_graphs": case.cuda_graphs,
        "workers_per_pass": case.workers_per_pass,
    }
    count = 1000 * case.images
    dataset = {"num_train_images": count, "num_val_images": 1, "num_classes": CLASSES, "image_size": case.image_size}
    dataset |= {"val_resize": case.image_size}
    recipe = {"model": case.model, "epochs": 100, "workers": case.workers, "mini_batch_size": case.images}
    recipe |= {"base_lr": LEARNING_RATE, "lr_scaling": {"rule": "none"}, "optimizer": SGD}
    recipe |= {"precision": case.precision}
    index = folder / "index.tsv"
    index.write_text("split\tlabel\tpath\n" + "train\t0\tnone\n" * count + "val\t0\tnone\n")
    return training_for(folder, dataset, recipe, placement, device, index=index, root=folder)


def training_for(
    folder: Path,
    dataset: dict[str, Any],
    recipe: dict[str, Any],
    placement: dict[str, Any],
    device: Any,
    *,
    index: Path,
    root: Path,
) -> Any:
    """A training set up for the one run of a study, on one rank."""
    from warmscale.records import StateFolder
    from warmscale.study import load_study
    from warmscale.training.setup import set_up

    dataset = {"name": "synthetic", "root": str(root), **dataset}
    experiment = {"name": "gpu", "extra": [{"point": {}}]}
    raw = {"study": "gpu", "dataset": dataset, "recipe": recipe, "placement": placement, "experiments": [experiment]}
    study = load_study(raw)
    run = next(iter(study.runs.values()))
    state = StateFolder(folder / "state")
    state.path.mkdir(parents=True, exist_ok=True)
    return set_up(
        run.run_id,
        json.loads(run.content_json()),
        study.config.placement.model_dump(),
        state=state,
        index=index,
        root=root,
        rank=join(device, folder),
        device=device,
    )


if __name__ == "__main__":
    main()
