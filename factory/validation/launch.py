"""How InferenceX launches its servers: limits and formats that its rows do not state.

Read from the launch scripts of SemiAnalysis InferenceX (Apache-2.0, 2025-11 to 2026-05) and the
recipe names of its Dynamo runs: numbers only. Where a script is not public the value is assumed and
says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.performance.architecture import Format

HOPPER = frozenset({"hgx-h100", "hgx-h200"})

LARGEST_BATCH = 2048
"""TensorRT-LLM's own limit of sequences where a script sets none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a server, per attention rank.

    Attributes:
        max_num_seqs: Sequences in a batch.
        max_num_batched_tokens: Tokens in a step.
    """

    max_num_seqs: int
    max_num_batched_tokens: int


@dataclass(frozen=True, slots=True)
class Launch:
    """What of a row decides how its server was launched.

    Attributes:
        engine: trtllm, sglang or vllm.
        system: Name in the catalogue.
        weights: Format of the weights.
        is_dp: Whether attention is data-parallel.
        gpus: GPUs of one replica.
        isl, osl, conc: Nominal lengths, and requests in flight.
        draft_tokens: Tokens drafted per step; 0 for none.
    """

    engine: str
    system: str
    weights: Format
    is_dp: bool
    gpus: int
    isl: int
    osl: int
    conc: int
    draft_tokens: int = 0


def kv_format(engine: str, system: str, precision: str) -> Format:
    """Format of the KV cache.

    FP8 is asked for by every script but SGLang's on Hopper, which leave it at the model's 16 bits;
    16-bit checkpoints keep theirs.
    """
    if precision in {"bf16", "fp16"} or (engine == "sglang" and system in HOPPER):
        return "fp16"
    return "fp8"


def aggregated(launch: Launch) -> Limits:
    """Limits of a server that prefills and decodes."""
    if launch.engine == "trtllm":
        return _trtllm(launch)
    if launch.engine == "sglang":
        return _sglang(launch)
    # vLLM: --max-num-seqs is the concurrency or 512; the token budget is its default for large
    # GPUs, 8192, or 16384 from the scripts of 2026-04.
    return Limits(max(launch.conc, 256), 16384)


def _trtllm(launch: Launch) -> Limits:
    if launch.draft_tokens:
        # max_batch_size is what each rank shall hold, max_num_tokens that and one more prompt.
        batch = max(launch.conc // launch.gpus, 1) if launch.is_dp else launch.conc
        return Limits(batch, _up_to_64((launch.draft_tokens + 1) * batch + launch.isl + 64))
    tokens = max(_up_to_64(launch.conc + launch.isl + 64), 8192)
    return Limits(min(LARGEST_BATCH, tokens), tokens)


def _sglang(launch: Launch) -> Limits:
    """--max-running-requests and --chunked-prefill-size of each script."""
    if launch.weights == "fp4":
        return Limits(256, 16384)
    if launch.system in HOPPER:
        return Limits(512 if launch.isl == launch.osl == 1024 else 256, 32768)
    if launch.gpus <= 4:
        return Limits(32, 8192)
    return Limits(max(128, launch.conc), 32768)


def prefill(launch: Launch) -> Limits:
    """Limits of a prefill server.

    As in public recipes of srt-slurm (Apache-2.0): TensorRT-LLM takes 4608 tokens, or one prompt
    that is longer; SGLang 16384 per attention rank (--chunked-prefill-size 131072 over 8), or 8192.
    """
    if launch.engine == "trtllm":
        return Limits(512, max(4608, _up_to_64(launch.isl + 64)))
    return Limits(512, 16384 if launch.is_dp else 8192)


def decode(launch: Launch, replicas: int) -> Limits:
    """Limits of each decode server.

    Dynamo's TensorRT-LLM recipes name a batch per rank and are loaded a few percent beyond it: 1214
    requests in flight on 2 x 8 ranks of ``batch64``, 4968 on 4 x 8 of ``batch128``, 66 on 3 of
    ``batch16``. The rest waits for a slot, which is most of such a row's TTFT. So where the
    concurrency is no power of two, the batch is the one below what each rank would get.
    """
    ranks = replicas * (launch.gpus if launch.is_dp else 1)
    share = launch.conc / ranks
    power = 1 << max(int(share).bit_length() - 1, 0)
    is_sweep = launch.conc & (launch.conc - 1) == 0
    if launch.engine != "trtllm" or is_sweep or share in {power, 3.0}:
        power = max(LARGEST_BATCH, launch.conc)
    return Limits(power, max(8192, power * (launch.draft_tokens + 1)))


def draft_tokens(engine: str, *, is_split: bool, is_dp: bool, conc_per_rank: float) -> int:
    """Tokens drafted per step in a row with MTP.

    SGLang runs two steps of its draft layer (--speculative-num-steps 2). TensorRT-LLM drafts three,
    and one where attention is data-parallel; its Dynamo recipes three, two from 64 sequences per
    rank (``…_batch64_…_mtp2``) and one from 128.
    """
    if engine == "sglang":
        return 2
    if not is_dp:
        return 3
    if not is_split:
        return 1
    return 3 if conc_per_rank < 64 else 2 if conc_per_rank < 128 else 1


def _up_to_64(tokens: int) -> int:
    return -(-tokens // 64) * 64
