"""How long a replica takes to start, by its weights and where they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from factory.scenario.autoscaling import Startup

_GB = 1e9

NODE_GB_S: Mapping[str, float] = {
    "local_ssd": 12.3,
    "shared_storage": 4.3,
    "object_store": 4.4,
    "peer": math.inf,
}
"""GB/s that a node takes weights in.

local_ssd: ModelExpress benchmarks (NVIDIA, 2026): DeepSeek-V4-Pro, 805 GiB, from local storage with
a cold page cache into 8 B200 in 70 s. object_store: the same, streamed from S3 in 196 s.
shared_storage: vLLM's page on InstantTensor (2026): DeepSeek-R1 into 8 H200 with the stock loader
in 160 s; the page does not name the storage, so that this is assumed. Well-built systems are
faster: 12 GB/s from VAST (ModelExpress), 94 GiB/s from FSx for Lustre with GPUDirect Storage (AWS,
2026).
"""

GPU_GB_S: Mapping[str, float] = {
    "local_ssd": 1.5,
    "shared_storage": 1.1,
    "object_store": math.inf,
    "peer": 9.8,
}
"""GB/s that the process of one GPU takes weights in.

local_ssd and peer: an eighth of what the 8 GPUs of the ModelExpress benchmark took (peer: 805 GiB
over NIXL and RDMA in 11 s). shared_storage: Qwen3-30B into one H200 with the stock loader in 57.4 s
(vLLM's page on InstantTensor, 2026). object_store: no limit below the node's was found.
"""

SMALL_GB, LARGE_GB = 16.0, 864.0
WARM_START_S = (64.0, 93.0)
COLD_START_S = (200.0, 409.0)
"""Seconds of an engine's start beside the weights, for a small and a large model.

Small: Llama-3.1-8B with vLLM on an L40S (Tensorfuse, September 2025): bytecode 10, compilation 42,
graph capture 54, imports and engine 94 s; with caches kept 10, 13, 7 and 34 s. Large:
DeepSeek-V4-Pro with vLLM 0.23 on 8 B200 (ModelExpress benchmarks, 2026): ready in 7 min with the
weights there in 11 s; 1 min 44 s with kernel caches too. Between them by the logarithm of the size
(assumed), beyond them the nearer one.
"""


@dataclass(frozen=True, slots=True)
class StartupTime:
    """What a replica's start takes, seconds.

    Attributes:
        provision_s: Until the engine's process runs.
        load_s: Weights from their source into the GPUs.
        engine_s: Imports, compilation, graph capture, warm-up; or all of a stated `startup_s`.
    """

    provision_s: float
    load_s: float
    engine_s: float

    @property
    def total_s(self) -> float:
        """From the decision to the first request."""
        return self.provision_s + self.load_s + self.engine_s


def startup_time(
    section: Startup,
    weights_bytes: float,
    gpu_bytes: float,
    gpus: int,
    gpus_per_node: int,
    at_once: int = 1,
) -> StartupTime:
    """Seconds from the decision to start a replica until it takes requests.

    Nodes, and GPUs within a node, read side by side; a node reads what several of its GPUs hold
    once. The slowest of GPU, node and source decides.

    Args:
        section: The pool's `autoscaling.startup`.
        weights_bytes: The model's weights, bytes.
        gpu_bytes: Weights on the fullest GPU, bytes.
        gpus: GPUs of the replica.
        gpus_per_node: GPUs of a node.
        at_once: Replicas that start together and share `source_gb_s`.
    """
    if section.startup_s is not None:
        return StartupTime(0.0, 0.0, section.startup_s)
    own = min(gpus, gpus_per_node)
    nodes = -(-gpus // gpus_per_node)
    node_bytes = min(weights_bytes, gpu_bytes * own)
    source = section.source
    load_s = max(
        gpu_bytes / ((section.gpu_gb_s or GPU_GB_S[source]) * _GB),
        node_bytes / ((section.node_gb_s or NODE_GB_S[source]) * _GB),
    )
    if section.source_gb_s is not None:
        load_s = max(load_s, node_bytes * nodes * at_once / (section.source_gb_s * _GB))
    engine_s = section.engine_start_s
    if engine_s is None:
        engine_s = engine_start_s(weights_bytes, cold=section.compile_cache == "cold")
    return StartupTime(section.provision_s, load_s, engine_s)


def engine_start_s(weights_bytes: float, *, cold: bool) -> float:
    """Seconds of an engine's start beside its weights (see `WARM_START_S`).

    Args:
        weights_bytes: The model's weights, bytes.
        cold: Whether kernels must be compiled.
    """
    small, large = COLD_START_S if cold else WARM_START_S
    size = min(max(weights_bytes / _GB, SMALL_GB), LARGE_GB)
    return small + (large - small) * math.log(size / SMALL_GB) / math.log(LARGE_GB / SMALL_GB)
