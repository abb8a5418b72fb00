"""A request on its way through the factory: the serving side's state of it."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.serving.rank import Rank
    from factory.workload import Request

NO_COST = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Sequence:
    """The state of one request between arrival and its row in the table.

    Attributes:
        request: The demand. Routers and schedulers never read its ``output_tokens``.
        priority: Of its tenant; higher goes first.
        limit: Output tokens after which the sequence ends, tokens.
        prefill_rank, decode_rank: Where it is served; None until chosen.
        left: Prompt tokens (and, after a preemption, generated ones) still to compute, tokens.
        position: KV tokens it has on its current rank, tokens.
        cached: Tokens of the prompt found in the cache on the current rank, tokens.
        hit: Blocks of the prompt found in the cache, blocks.
        pinned, private: KV blocks it holds on its current rank, shared and its own, blocks.
        prefill_pinned, prefill_private: Those it still holds on its prefill rank when it has moved.
        generated: Output tokens delivered or ready to deliver, as of its last joining, tokens.
        recompute: Tokens of `left` that it had computed before a preemption, tokens.
        steps: Decode steps that its answer takes if it is never preempted. This, ``pace``,
            ``blocks`` and ``counted`` are there where steps verify drafts.
        decode_steps: Decode steps it has taken, as of its last joining.
        join_step, join_context: Step index and context (new token included) when it joined a batch.
        pace: Tokens by which its context grows per decode step, in fixed point.
        blocks: KV blocks it holds while it decodes, or is owed for steps done, blocks.
        counted: Of its ``generated``, those in the sums of windows while it decodes.
        ticket: Order of joining its batch; -1 while it is in none.
        cost_mark: The replica's cost integrators when it joined.
    """

    __slots__ = (
        "blocks",
        "cached",
        "computed_tokens",
        "cost_mark",
        "counted",
        "decode_rank",
        "decode_steps",
        "energy_input_j",
        "energy_output_j",
        "expected",
        "first_cached",
        "first_token_s",
        "generated",
        "gpu_s_cached",
        "gpu_s_computed",
        "gpu_s_output",
        "hit",
        "join_context",
        "join_step",
        "left",
        "limit",
        "pace",
        "pinned",
        "position",
        "preemptions",
        "prefill_end_s",
        "prefill_pinned",
        "prefill_private",
        "prefill_rank",
        "prefill_start_s",
        "priority",
        "private",
        "recompute",
        "recomputed_tokens",
        "request",
        "steps",
        "ticket",
        "transfer_bytes",
        "transfer_s",
        "transfer_start_s",
    )

    steps: int
    pace: int
    blocks: int
    counted: int

    def __init__(self, request: Request, limit: int, priority: int) -> None:
        self.request = request
        self.limit = limit
        self.priority = priority
        self.prefill_rank: Rank | None = None
        self.decode_rank: Rank | None = None
        self.left = request.input_tokens
        self.position = 0
        self.cached = 0
        self.first_cached = -1
        self.hit = 0
        self.pinned = 0
        self.private = 0
        self.generated = 0
        self.prefill_pinned = 0
        self.prefill_private = 0
        self.recompute = 0
        self.expected = 0
        self.decode_steps = 0
        self.join_step = 0
        self.join_context = 0
        self.ticket = -1
        self.cost_mark = NO_COST
        self.computed_tokens = 0
        self.recomputed_tokens = 0
        self.preemptions = 0
        self.prefill_start_s = nan
        self.prefill_end_s = nan
        self.first_token_s = nan
        self.transfer_start_s = nan
        self.transfer_s = nan
        self.transfer_bytes = 0.0
        self.gpu_s_computed = 0.0
        self.gpu_s_cached = 0.0
        self.gpu_s_output = 0.0
        self.energy_input_j = 0.0
        self.energy_output_j = 0.0
