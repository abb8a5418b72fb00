"""What a replica can do, estimated from its step model alone: for routers, doors and scaling."""

from __future__ import annotations

from collections.abc import Callable

from factory.performance import StepModel
from factory.performance.work import RankWork
from factory.serving.limits import RankLimits

Rate = Callable[[str, float, float, float], float]
"""Requests per second of one replica, from (role, mean prompt tokens to compute, mean output
tokens, limit on the inter-token latency in seconds); 0 where that cannot be met."""


def prefill_estimate(
    model: StepModel, ranks: int, step_tokens: int, clock: float = 1.0
) -> Callable[[int, int], float]:
    """Seconds that an otherwise idle replica takes to prefill (new, cached) tokens on one rank.

    A prompt is computed in chunks of ``step_tokens``; the estimate takes the chunk in the middle
    for all of them.
    """
    works = [RankWork() for _ in range(ranks)]

    def estimate(new: int, cached: int) -> float:
        if new <= 0:
            return 0.0
        chunks = -(-new // step_tokens)
        tokens = new / chunks
        _fill(works[0], tokens, cached + (new - tokens) * 0.5, 1)
        return chunks * model.plan(works, clock, 1).base_s

    return estimate


def _fill(work: RankWork, tokens: float, before: float, prompts: int) -> None:
    """Lets a rank compute ``tokens`` tokens, each prompt's part of them after ``before`` others."""
    own = tokens / prompts
    work.prefill_tokens = round(tokens)
    work.prefill_context = round(prompts * (before + own))
    work.prefill_pairs = prompts * (own * before + own * (own + 1.0) * 0.5)
    work.logit_rows = prompts


def serving_rate(
    model: StepModel,
    ranks: int,
    limits: RankLimits,
    capacity: int,
    clock: float,
    tokens_per_step: float,
) -> Rate:
    """The rate at which one replica can serve requests of one size, in the steady state.

    Each request takes its part of full prefill steps and, for each of its decode steps, its part of
    one; all ranks do the same, and both kinds of step run on the same GPUs where the pool is
    aggregated. Of all batches that memory and the engine allow, the one is taken that serves most
    while its tokens come within the limit.

    Args:
        model: How long steps take.
        ranks: Ranks of the replica.
        limits: The engine's.
        capacity: KV tokens of a rank.
        clock: Clock of the pool, as a ratio of the nominal one.
        tokens_per_step: Tokens that a decode step gives a sequence, drafts among them.
    """
    works = [RankWork() for _ in range(ranks)]

    def prompt_s(prompt: float) -> float:
        """Seconds of a whole replica for one prompt, when many wait."""
        budget = limits.batched_tokens
        prompts = max(int(budget // prompt), 1) if prompt < budget else 1
        chunks = -(-prompt // budget) if prompt > budget else 1.0
        tokens = prompt / chunks
        for work in works:
            work.decode = work.context = work.context_slope = 0
            _fill(work, prompts * tokens, (prompt - tokens) * 0.5, prompts)
        return chunks * model.plan(works, clock, 1).base_s / (prompts * ranks)

    def decode_s(batch: int, context: float) -> float:
        for work in works:
            work.prefill_tokens = work.prefill_context = 0
            work.prefill_pairs = 0.0
            work.decode = work.logit_rows = batch
            work.context = batch * context
            work.context_slope = batch
        return model.plan(works, clock, 1).base_s

    def rate(role: str, prompt: float, output: float, itl_s: float) -> float:
        prefill_s = prompt_s(max(prompt, 1.0)) if role != "decode" else 0.0
        if role == "prefill":
            return 1.0 / prefill_s if prefill_s else float("inf")
        context = prompt + 0.5 * output
        steps = max(output - 1.0, 0.0) / tokens_per_step
        fits = max(min(limits.sequences, int(capacity / max(context, 1.0))), 1)

        def served(batch: int) -> float:
            """Requests per second with such a batch on every rank; 0 if tokens come too late."""
            step_s = decode_s(batch, context)
            each_s = prefill_s + steps * step_s / (batch * ranks)
            found = 1.0 / each_s if each_s else float("inf")
            # Prefill takes its part of the time, and stretches the gaps between tokens.
            gap_s = step_s / tokens_per_step
            return found if gap_s <= itl_s * (1.0 - min(found * prefill_s, 1.0)) else 0.0

        low, high = 1, fits
        while low < high:  # the largest batch within the limit: steps grow with their batch
            middle = (low + high + 1) // 2
            low, high = (middle, high) if served(middle) else (low, middle - 1)
        return served(low)

    return rate
