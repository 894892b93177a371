"""The time of one step, from who takes part, what is computed and what the machine can do. In words: docs/plan.md.

Sources: communication in the alpha-beta model of Thakur, Rabenseifner & Gropp 2005; ring: Patarasuk & Yuan 2009; two
binary trees: Sanders, Speck & Träff 2009, as NCCL has them; overlap by buckets: Li et al. 2020; the slowest of many
ranks: David & Nagaraja 2003.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import integrate, special

from .hardware import Hardware, Value
from .workload import PUBLISHED_SIZE, RESNET50, Workload

BACKWARD_SHARE = 2 / 3
"""Of a pass: its operations are twice those of the forward pass."""
UPDATE_TOUCHES = 5
"""Numbers that SGD with momentum moves a parameter: weight, gradient and momentum in, weight and momentum out."""
CHUNK_BYTES = 2**18
"""What a tree hands on at a time: NCCL's tuning model reckons its hops with chunks of 256 KiB."""


@dataclass(frozen=True)
class StepShape:
    """Who takes part in a step, and how many images each has; the number of ranks divides that of workers.

    A worker is here whatever has a BatchNorm batch of its own: of a recipe with batchnorm_batch_size, a part of one.
    """

    nodes: int
    ranks_per_node: int
    workers: int
    worker_batch_size: int
    workers_per_pass: int = 1
    """Workers of a rank whose images go through the model together."""
    overlaps: bool = True
    """Gradients are averaged while the backward pass makes others: not where it hands over all at once."""

    @property
    def ranks(self) -> int:
        """Processes, each with one device."""
        return self.nodes * self.ranks_per_node

    @property
    def mini_batch_size(self) -> int:
        """Images of the step."""
        return self.workers * self.worker_batch_size

    @property
    def images_per_rank(self) -> float:
        """Images of a rank."""
        return self.mini_batch_size / self.ranks

    @property
    def passes(self) -> int:
        """Training passes of a rank, one after the other."""
        return math.ceil(self.workers / self.ranks / self.workers_per_pass)


@dataclass(frozen=True)
class StepTime:
    """A step, taken apart."""

    computation_sec: float
    """Passes and update of a rank, without others."""
    alone_sec: float
    """A step without averaging, as it is timed: ranks wait for the slowest of them, and for their images."""
    communication_sec: float
    """Averaging gradients, without computing."""
    exposed_sec: float
    """What of it does not hide behind the backward pass."""
    straggler_sec: float
    """Waiting for the slowest rank."""
    input_sec: float
    """What it takes to hand a rank its images."""
    step_sec: float
    """The step: images are made ready meanwhile, so the longer of the two counts."""


def step_time(shape: StepShape, work: Workload, hardware: Hardware, has_input: bool = True) -> StepTime:
    """Time of a step; without input where images are made up."""
    pass_sec = training_pass_sec(shape.images_per_rank / shape.passes, work, hardware)
    pass_sec *= 1 + hardware.contention.of * (1 - 1 / shape.ranks_per_node)
    computation_sec = shape.passes * pass_sec + update_sec(work, hardware)
    communication_sec = all_reduce_sec(shape, work, hardware)
    hidden_sec = hardware.overlap_share.of * BACKWARD_SHARE * pass_sec if shape.overlaps else 0.0
    exposed_sec = exposed(communication_sec, hidden_sec, work.all_reduces)
    straggler_sec = computation_sec * hardware.straggler_cv.of * expected_maximum(shape.ranks)
    input_sec = shape.images_per_rank * image_input_sec(work, hardware) if has_input else 0.0
    return StepTime(
        computation_sec=computation_sec,
        alone_sec=max(computation_sec + straggler_sec, input_sec),
        communication_sec=communication_sec,
        exposed_sec=exposed_sec,
        straggler_sec=straggler_sec,
        input_sec=input_sec,
        step_sec=max(computation_sec + exposed_sec + straggler_sec, input_sec),
    )


def training_pass_sec(images: float, work: Workload, hardware: Hardware) -> float:
    """Forward and backward pass of so many images: the arithmetic, but no less than starting the kernels takes."""
    floor_sec = hardware.launch_floor_sec.of * work.layers / RESNET50.layers
    return max(floor_sec, hardware.pass_sec.of + images / training_images_per_sec(work, hardware))


def training_images_per_sec(work: Workload, hardware: Hardware) -> float:
    """Images a second of a rank in large passes: ResNet-50's, by the ratio of operations."""
    return hardware.images_per_sec[work.precision].of * RESNET50.flops_per_image / work.flops_per_image


def validation_image_sec(work: Workload, hardware: Hardware) -> float:
    """An image in validation, whose passes are large whatever those of training are; or as fast as images come."""
    computation_sec = 1 / (hardware.evaluation_speedup.of * training_images_per_sec(work, hardware))
    return max(computation_sec, image_input_sec(work, hardware))


def update_sec(work: Workload, hardware: Hardware) -> float:
    """Update of the weights, bound by memory."""
    return UPDATE_TOUCHES * work.gradient_bytes / hardware.memory_bytes_per_sec.of


def image_input_sec(work: Workload, hardware: Hardware) -> float:
    """Reading and decoding an image, which is taken to be larger than what the model sees by as much as ImageNet's."""
    return (work.image_size / PUBLISHED_SIZE) ** 2 / hardware.input_images_per_sec.of


def exposed(communication_sec: float, hidden_sec: float, all_reduces: int) -> float:
    """Communication that is left when the backward pass has ended: at least the last bucket's, which begins then."""
    return max(communication_sec - hidden_sec, communication_sec / all_reduces)


def all_reduce_sec(shape: StepShape, work: Workload, hardware: Hardware) -> float:
    """Averaging all gradients over all ranks, in buckets taken as equally large; nothing on one rank."""
    algorithms = {
        "ring": (flat_ring_sec,),
        "tree": (tree_sec,),
        "hierarchical": (hierarchical_sec,),
        "fastest": (flat_ring_sec, tree_sec),
    }[hardware.all_reduce]
    bucket_bytes = work.gradient_bytes / work.all_reduces
    return work.all_reduces * min(algorithm(shape, bucket_bytes, hardware) for algorithm in algorithms)


def ring_sec(ranks: int, size_bytes: float, bytes_per_sec: float, latency_sec: float) -> float:
    """A ring: every rank sends 2 (n - 1) / n of the bytes (Patarasuk & Yuan 2009); latency_sec of all hops."""
    return latency_sec + 2 * (ranks - 1) / ranks * size_bytes / bytes_per_sec


def flat_ring_sec(shape: StepShape, size_bytes: float, hardware: Hardware) -> float:
    """One ring through all ranks, as fast as its slowest link, with 2 (n - 1) hops, 2 (nodes - 1) of them outside."""
    outside = 2 * (shape.nodes - 1)
    inside = 2 * (shape.ranks - 1) - outside
    latency_sec = inside * hardware.intra_latency_sec.of + outside * hardware.inter_latency_sec.of
    return ring_sec(shape.ranks, size_bytes, _slowest_link(shape, hardware), latency_sec)


def tree_sec(shape: StepShape, size_bytes: float, hardware: Hardware) -> float:
    """Two binary trees over nodes, each with half of the bytes, and chains within nodes; up and down, in chunks.

    No rank sends the bytes more than twice (Sanders et al. 2009), and the first chunk goes the whole way.
    """
    inside = hops_sec(shape.ranks_per_node - 1, size_bytes, hardware.intra_bytes_per_sec.of, hardware.intra_latency_sec)
    outside = hops_sec(math.log2(shape.nodes), size_bytes, _network(shape, hardware), hardware.inter_latency_sec)
    return inside + outside + 2 * size_bytes / _slowest_link(shape, hardware)


def hierarchical_sec(shape: StepShape, size_bytes: float, hardware: Hardware) -> float:
    """A ring within every node, and over nodes a ring or two trees, whichever is faster; one after the other."""
    nodes, network = shape.nodes, _network(shape, hardware)
    within = flat_ring_sec(replace(shape, nodes=1), size_bytes, hardware)
    ring = ring_sec(nodes, size_bytes, network, 2 * (nodes - 1) * hardware.inter_latency_sec.of)
    trees = hops_sec(math.log2(nodes), size_bytes, network, hardware.inter_latency_sec)
    trees += 2 * size_bytes / network if nodes > 1 else 0.0
    return within + min(ring, trees)


def hops_sec(hops: float, size_bytes: float, bytes_per_sec: float, latency_sec: Value) -> float:
    """The way of the first chunk, there and back."""
    return 2 * hops * (latency_sec.of + min(CHUNK_BYTES, size_bytes) / bytes_per_sec)


def _network(shape: StepShape, hardware: Hardware) -> float:
    """Bytes a second out of a node: each rank uses one adapter at a time."""
    return hardware.nic_bytes_per_sec.of * min(hardware.nics, shape.ranks_per_node)


def _slowest_link(shape: StepShape, hardware: Hardware) -> float:
    """Of a ring through all ranks."""
    links = [hardware.intra_bytes_per_sec.of] if shape.ranks_per_node > 1 else []
    links += [_network(shape, hardware)] if shape.nodes > 1 else []
    return min(links, default=math.inf)


@cache
def expected_maximum(number: int) -> float:
    """Expected largest of so many standard normal numbers (David & Nagaraja 2003, section 3.1)."""
    if number == 1:
        return 0.0
    x = np.linspace(0.0, 10.0, 4001)
    above, below = 1 - special.ndtr(x) ** number, special.ndtr(-x) ** number
    return float(integrate.trapezoid(above - below, x))
