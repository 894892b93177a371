"""What a machine can do, as far as the cost model asks: each number with its source and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from .workload import PlanningError

Provenance = Literal["published", "assumed", "fitted"]

PRECISIONS = ("fp64", "fp32", "tf32", "bf16", "fp16")


@dataclass(frozen=True)
class Value:
    """A number with what is known of it."""

    of: float
    provenance: Provenance
    source: str
    """Who says so, or why it is assumed."""
    sd: float
    """Standard deviation of its logarithm, of a share that of its logit: 0.2 is 20 %, 0.7 a factor of two."""


SHARES = ("overlap_share",)
"""Values between 0 and 1."""


@dataclass(frozen=True)
class Hardware:
    """A machine."""

    name: str
    device: str
    """Part of the name that a device has in records; `cpu` where ranks have no GPU."""
    images_per_sec: Mapping[str, Value]
    """{precision: images a second that one rank trains ResNet-50 on, 224 x 224 pixels, in large passes}."""
    launch_floor_sec: Value
    """Least time of a training pass of ResNet-50, however few its images: its kernels have to be started."""
    pass_sec: Value
    """What a pass takes beside its images."""
    contention: Value
    """By how much computation takes longer where many ranks share a node, its memory, caches and power."""
    memory_bytes_per_sec: Value
    """Of the memory of a rank, which bounds the update of the weights."""
    intra_bytes_per_sec: Value
    """Between neighbours of a ring within a node, in one direction."""
    intra_latency_sec: Value
    """Of one hop within a node."""
    nic_bytes_per_sec: Value
    """Of a network adapter, in one direction."""
    nics: int
    """Network adapters of a node."""
    inter_latency_sec: Value
    """Of one hop between nodes."""
    overlap_share: Value
    """Share of the last backward pass that communication can hide behind."""
    straggler_cv: Value
    """Standard deviation of the time of a rank's passes, relative to their mean."""
    input_images_per_sec: Value
    """Images that a rank is handed a second, of ImageNet's size."""
    evaluation_speedup: Value
    """Images a second in validation, relative to training in large passes."""
    start_up_sec: Value
    """From the start of a job to its first step."""
    checkpoint_sec: Value
    """What training waits for a checkpoint, which is written in the background."""
    checkpoint_write_sec: Value
    """What that writing takes: a job that pauses waits for it."""
    all_reduce: Literal["ring", "tree", "hierarchical", "fastest"] = "fastest"
    """fastest: ring or tree, as NCCL chooses for every size."""

    def value(self, name: str, precision: str) -> Value:
        """One value by name; images_per_sec is that of a precision."""
        return self.images_per_sec[precision] if name == "images_per_sec" else getattr(self, name)

    def with_values(self, values: Mapping[str, Value], precision: str) -> Hardware:
        """The same machine with some values replaced."""
        changes = dict(values)
        if rate := changes.pop("images_per_sec", None):
            changes["images_per_sec"] = {**self.images_per_sec, precision: rate}
        return replace(self, **changes)


def preset(name: str | None) -> Hardware:
    """A known machine, without a name a CPU; raises PlanningError where there is none of that name."""
    known = name or "cpu"
    if known not in PRESETS:
        raise PlanningError([f"planning.hardware: {known} is none of {', '.join(PRESETS)}"])
    return PRESETS[known]


def published(of: float, source: str, sd: float = 0.2) -> Value:
    """What others have measured or promise: our code on this machine may do a fifth more or less."""
    return Value(of, "published", source, sd)


def assumed(of: float, source: str, sd: float = 0.5) -> Value:
    """A guess: as likely as not within a third of the truth."""
    return Value(of, "assumed", source, sd)


EXAMPLES = (
    "NVIDIA DeepLearningExamples, PyTorch/Classification/ConvNets/resnet50v1.5/README.md, training performance on one "
    "{} (pytorch-21.03)"
)
V100_TABLE, A100_TABLE = EXAMPLES.format("V100 16GB of a DGX-1"), EXAMPLES.format("A100 80GB")
OLCF = "OLCF, Summit user guide (docs.olcf.ornl.gov, systems/summit_user_guide)"
NCCL = "NCCL 2.17.1, src/graph/tuning.cc, hwLat of its ring with the Simple protocol"
BENCHMARKS = "this project's benchmarks on AMD EPYC"

NETWORK = f"{NCCL}, network; 14 since 2.18"
WRITE = "0.2 GB of weights and momenta of ResNet-50 at 50 MB/s, on a shared file system that others use"
STRAGGLERS = "2 % from rank to rank; GPUs of one model differ in clock and temperature"
CONTENTION = "2 %; GPUs share the host and the power of their node, but not memory"
OVERLAP = "all but the first layers' gradients have a backward pass to hide behind (Li et al. 2020)"
VALIDATION = "a forward pass is a third of a training pass; V100 tables of NVIDIA DeepLearningExamples: 2.8 to 3.4"


def _h100(name: str, device: str, faster: float, memory: float) -> Hardware:
    """An eight-GPU node of H100 or of H200, the same processor with faster memory."""
    rates = {
        "fp64": (200, "half of fp32's rate at most, and twice the bytes"),
        "fp32": (1000, "2.7 times the V100's 367, less than the ratio of peaks, 67 to 15.7 TFLOP/s"),
        "tf32": (1250, f"4/3 of the A100's 938, {A100_TABLE}"),
        "bf16": (3000, f"1.2 times the A100's 2,470 in mixed precision, {A100_TABLE}"),
        "fp16": (3000, f"1.2 times the A100's 2,470 in mixed precision, {A100_TABLE}"),
    }
    note = "" if faster == 1 else f"; times {faster:g} for the H200's faster memory"
    return Hardware(
        name=name,
        device=device,
        images_per_sec={precision: assumed(rate * faster, why + note) for precision, (rate, why) in rates.items()},
        launch_floor_sec=assumed(0.02, "two thirds of the V100's, on a faster host"),
        pass_sec=assumed(0.001, "the loss and the audit of a pass"),
        contention=assumed(0.02, CONTENTION, 0.7),
        memory_bytes_per_sec=published(memory, f"NVIDIA, {device} Tensor Core GPU data sheet, SXM"),
        intra_bytes_per_sec=assumed(
            0.8 * 450e9, "0.8 of NVLink 4's 450 GB/s in one direction (NVIDIA, H100 data sheet: 900 in both)"
        ),
        intra_latency_sec=published(3.4e-6, f"{NCCL}, NVLink", 0.5),
        nic_bytes_per_sec=published(50e9, "NVIDIA, DGX H100/H200 user guide: 400 Gb/s a ConnectX-7, one a GPU"),
        nics=8,
        inter_latency_sec=published(9.6e-6, NETWORK, 0.5),
        overlap_share=assumed(0.8, OVERLAP, 1.0),
        straggler_cv=assumed(0.02, STRAGGLERS),
        input_images_per_sec=assumed(8000, "14 cores a GPU at about 600 images a second each"),
        evaluation_speedup=assumed(3.0, VALIDATION, 0.2),
        start_up_sec=assumed(45, "interpreters, imports and NCCL on a shared file system"),
        checkpoint_sec=assumed(0.5, "a copy to the host; the file is written in the background"),
        checkpoint_write_sec=assumed(4, WRITE),
    )


SUMMIT = Hardware(
    name="summit-v100",
    device="V100",
    images_per_sec={
        "fp64": assumed(180, "half of fp32's rate, as their peaks, 7.8 and 15.7 TFLOP/s"),
        "fp32": published(367, V100_TABLE),
        "tf32": assumed(367, "as fp32: a V100 has no TF32", 0.2),
        "bf16": assumed(250, "below fp32, as a V100 has no units for bf16", 0.7),
        "fp16": published(1200, f"{V100_TABLE}, mixed precision"),
    },
    launch_floor_sec=assumed(
        0.03, "three times the latency of a forward pass of one image, 10.4 ms, in the same tables"
    ),
    pass_sec=assumed(0.002, "the loss and the audit of a pass"),
    contention=assumed(0.02, CONTENTION, 0.7),
    memory_bytes_per_sec=published(900e9, "NVIDIA, Tesla V100 data sheet, SXM2"),
    intra_bytes_per_sec=assumed(
        0.8 * 50e9, "0.8 of the 50 GB/s in one direction of the two NVLink 2 between GPUs of a socket"
    ),
    intra_latency_sec=published(3.4e-6, f"{NCCL}, NVLink", 0.5),
    nic_bytes_per_sec=published(11.5e9, f"{OLCF}: 23 GB/s a node on two rails of EDR InfiniBand"),
    nics=2,
    inter_latency_sec=published(9.6e-6, NETWORK, 0.5),
    overlap_share=assumed(0.8, OVERLAP, 1.0),
    straggler_cv=assumed(0.02, STRAGGLERS),
    input_images_per_sec=assumed(2500, "7 POWER9 cores a GPU at less than half of an x86 core's 800"),
    evaluation_speedup=assumed(3.0, VALIDATION, 0.2),
    start_up_sec=assumed(90, "jsrun, imports of all ranks from GPFS, NCCL"),
    checkpoint_sec=assumed(0.5, "a copy to the host; the file is written in the background"),
    checkpoint_write_sec=assumed(4, WRITE),
)

CPU = Hardware(
    name="cpu",
    device="cpu",
    images_per_sec={
        precision: assumed(rate, f"about 150 images of 32 x 32 a second and core, {BENCHMARKS}", 0.7)
        for precision, rate in {"fp64": 1.5, "fp32": 3.0, "tf32": 3.0, "bf16": 3.0, "fp16": 1.0}.items()
    },
    launch_floor_sec=assumed(0.01, "Python and PyTorch start some 500 operations at 20 microseconds each"),
    pass_sec=assumed(0.001, "the loss and the audit of a pass", 0.7),
    contention=assumed(0.5, "cores share memory, caches, and as hyperthreads themselves", 1.0),
    memory_bytes_per_sec=assumed(10e9, "a core's share of its socket's memory"),
    intra_bytes_per_sec=assumed(1.5e9, "gloo through the loopback interface", 0.7),
    intra_latency_sec=assumed(1e-4, "gloo wakes a thread for every message", 0.7),
    nic_bytes_per_sec=assumed(1.25e9, "10 Gb/s Ethernet", 0.7),
    nics=1,
    inter_latency_sec=assumed(1e-4, "TCP", 0.7),
    overlap_share=assumed(0.5, "communication takes time of the cores that compute", 1.0),
    straggler_cv=assumed(0.05, "cores that other processes use as well"),
    input_images_per_sec=assumed(800, f"one core that decodes, {BENCHMARKS}", 0.7),
    evaluation_speedup=assumed(3.0, VALIDATION, 0.3),
    start_up_sec=assumed(4, f"imports, {BENCHMARKS}"),
    checkpoint_sec=assumed(0.1, "a copy, written in the background"),
    checkpoint_write_sec=assumed(0.5, "0.2 GB of weights and momenta of ResNet-50 at 400 MB/s, on a disk of its own"),
    all_reduce="ring",
)

PRESETS = {
    "summit-v100": SUMMIT,
    "h100-node": _h100("h100-node", "H100", 1.0, 3.35e12),
    "h200-node": _h100("h200-node", "H200", 1.1, 4.8e12),
    "cpu": CPU,
}
"""{name: machine}; a data sheet's number is published, a share of it that our code will reach is assumed."""
