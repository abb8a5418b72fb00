"""What a token takes at a pool's efficient operating point: the yardstick of the load factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.performance.work import RankWork

if TYPE_CHECKING:
    from factory.performance.step_model import StepModel


@dataclass(frozen=True, slots=True)
class ReferenceCosts:
    """GPU-seconds of one token of each kind at the reference point, clock 1.0.

    Attributes:
        input_computed_gpu_s: A prompt token computed.
        input_cached_gpu_s: A prompt token found in the cache: attention over it, no more.
        output_gpu_s: An output token.
        decode_sequences: Sequences per rank in the reference decode batch.
    """

    input_computed_gpu_s: float
    input_cached_gpu_s: float
    output_gpu_s: float
    decode_sequences: int


def reference_costs(
    model: StepModel,
    *,
    gpus: int,
    ranks: int,
    context_tokens: int,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    kv_capacity_tokens: int,
) -> ReferenceCosts:
    """GPU-seconds per token at a pool's efficient point.

    Computed input: every rank's token budget full of whole prompts of ``context_tokens``. Cached
    input: the same new tokens, each prompt behind as many cached ones; what that adds, per cached
    token. Output: the largest batch that ``max_num_seqs`` and KV memory allow, each sequence at
    ``context_tokens``.

    Args:
        model: Step times of a replica.
        gpus: GPUs of a replica.
        ranks: Attention ranks of a replica.
        context_tokens: Context of the reference, tokens.
        max_num_seqs: Sequences that a rank may run.
        max_num_batched_tokens: Token budget of a rank's step.
        kv_capacity_tokens: KV tokens of a rank.
    """
    budget = max_num_batched_tokens
    prompt = min(context_tokens, budget)
    prompts = max(budget // prompt, 1)
    own_pairs = budget * (prompt + 1) / 2
    alone = RankWork(0, 0, budget, own_pairs, 0.0, budget, 0, prompts)
    behind = RankWork(0, 0, budget, own_pairs + float(budget) * prompt, 0.0, 2 * budget, 0, prompts)
    alone_s = model.plan([alone] * ranks, 1.0, 1).base_s
    behind_s = model.plan([behind] * ranks, 1.0, 1).base_s
    sequences = max(1, min(max_num_seqs, kv_capacity_tokens // context_tokens))
    decode = RankWork(decode=sequences, context=sequences * context_tokens, logit_rows=sequences)
    decode_s = model.plan([decode] * ranks, 1.0, 1).base_s
    per_rank = gpus / ranks
    return ReferenceCosts(
        input_computed_gpu_s=alone_s * per_rank / budget,
        input_cached_gpu_s=max(behind_s - alone_s, 0.0) * per_rank / budget,
        output_gpu_s=decode_s * per_rank / sequences,
        decode_sequences=sequences,
    )
