"""What a replica can do, estimated from its step model alone: for routers, doors and scaling."""

from __future__ import annotations

from collections.abc import Callable

from factory.performance import StepModel
from factory.performance.work import RankWork
from factory.serving.limits import RankLimits

Rate = Callable[[str, float, float, float], float]
"""Requests per second of one replica, from (role, mean prompt tokens, mean output tokens, limit on
the inter-token latency in seconds)."""


def prefill_estimate(model: StepModel, ranks: int, step_tokens: int) -> Callable[[int, int], float]:
    """Seconds that an otherwise idle replica takes to prefill (new, cached) tokens on one rank.

    A prompt is computed in chunks of ``step_tokens``; the estimate takes the chunk in the middle
    for all of them.
    """
    works = [RankWork() for _ in range(ranks)]
    own = works[0]

    def estimate(new: int, cached: int) -> float:
        if new <= 0:
            return 0.0
        chunks = -(-new // step_tokens)
        tokens = new / chunks
        before = cached + (new - tokens) * 0.5
        own.prefill_tokens = round(tokens)
        own.prefill_context = round(before + tokens)
        own.prefill_pairs = tokens * before + tokens * (tokens + 1.0) * 0.5
        own.logit_rows = 1
        return chunks * model.plan(works, 1.0, 1).base_s

    return estimate


def serving_rate(model: StepModel, ranks: int, limits: RankLimits, capacity: int) -> Rate:
    """The rate at which one replica can serve requests of one size, in the steady state.

    Each request takes its prefill and, for each of its tokens, its share of a decode step; both run
    on the same GPUs where the pool is aggregated. Of all batches that memory and the engine allow,
    the one is taken that serves most while its tokens come within the limit.

    Args:
        model: How long steps take.
        ranks: Ranks of the replica, each with the same batch.
        limits: The engine's.
        capacity: KV tokens of a rank.
    """
    prefill_s = prefill_estimate(model, ranks, limits.batched_tokens)
    works = [RankWork() for _ in range(ranks)]

    def decode_s(batch: int, context: float) -> float:
        for work in works:
            work.decode = work.logit_rows = batch
            work.context = batch * context
            work.context_slope = batch
        return model.plan(works, 1.0, 1).base_s

    def rate(role: str, prompt: float, output: float, itl_s: float) -> float:
        prompt_s = prefill_s(round(prompt), 0) / ranks if role != "decode" else 0.0
        if role == "prefill":
            return 1.0 / prompt_s if prompt_s else float("inf")
        context = prompt + 0.5 * output
        steps = max(output - 1.0, 0.0)
        fits = min(limits.sequences, int(capacity / max(context, 1.0)))
        best, batch = 0.0, 1
        while batch <= max(fits, 1):
            step_s = decode_s(batch, context)
            each_s = prompt_s + steps * step_s / (batch * ranks)
            served = 1.0 / each_s if each_s else float("inf")
            # Prefill takes its part of the time, and stretches the gaps between tokens.
            if step_s <= itl_s * (1.0 - served * prompt_s) or batch == 1:
                best = max(best, served)
            batch *= 2
        return best

    return rate
