"""A request on its way through the factory: the serving side's state of it."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.serving.links import Flow
    from factory.serving.rank import Rank
    from factory.workload import Request

STAGE_HELD = 0
STAGE_WAITING = 1
STAGE_FETCHING = 2
STAGE_RUNNING = 3
STAGE_HANDING = 4
STAGE_MOVING = 5
STAGE_READY = 6
STAGE_GONE = 7
STAGE_RESERVING = 8
"""Where a sequence is: before its router, waiting to be admitted, waiting for cached KV, prefilling
or decoding, prefilled and waiting for room where it decodes, its KV on the way there, there, out,
and waiting for that room before it is prefilled."""

NO_COST = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
NO_TIERS = (0, 0, 0)
"""Tokens found in host memory, on disk, and in a shared store or at a peer: none."""


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
        cached_by_tier: Those of them that came from host memory, from disk, and from a shared store
            or a peer, tokens.
        pinned, private: KV blocks it holds on its current rank, shared and its own, blocks.
        prefill_pinned, prefill_private: Those it still holds on its prefill rank when it has moved.
        final, prefill_final: Blocks that it may come to there, where the scheduler guarantees them.
        declared: Output tokens that its client allows, tokens.
        promise: Batch step at which it would come to them, as of joining (`schedulers`).
        meant: Where it would decode, as chosen when it came (conditional disaggregation).
        target: Where it is to decode, from when that is known.
        decode_private, decode_final: Blocks taken for it there, and those it may come to.
        flow: Its KV on the way to where it decodes.
        is_counted: Whether the deployment's door counts it as inside.
        stage: Where it is: one of the ``STAGE_`` constants.
        doomed: Outcome with which it is to leave, or -1.
        copy_from: (slot, leading blocks) to copy from a peer first, if the router says so.
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
        "cached_by_tier",
        "computed_tokens",
        "copy_from",
        "cost_mark",
        "counted",
        "declared",
        "decode_final",
        "decode_private",
        "decode_rank",
        "decode_steps",
        "doomed",
        "energy_input_j",
        "energy_output_j",
        "expected",
        "final",
        "first_cached",
        "first_token_s",
        "flow",
        "generated",
        "gpu_s_cached",
        "gpu_s_computed",
        "gpu_s_output",
        "is_counted",
        "join_context",
        "join_step",
        "left",
        "limit",
        "meant",
        "pace",
        "pinned",
        "position",
        "preemptions",
        "prefill_end_s",
        "prefill_final",
        "prefill_pinned",
        "prefill_private",
        "prefill_rank",
        "prefill_start_s",
        "priority",
        "private",
        "promise",
        "recompute",
        "recomputed_tokens",
        "request",
        "stage",
        "steps",
        "target",
        "ticket",
        "transfer_bytes",
        "transfer_s",
        "transfer_start_s",
    )

    steps: int
    pace: int
    blocks: int
    counted: int
    promise: int

    def __init__(self, request: Request, limit: int, priority: int, declared: int = 0) -> None:
        self.request = request
        self.limit = limit
        self.declared = declared or limit
        self.priority = priority
        self.prefill_rank: Rank | None = None
        self.decode_rank: Rank | None = None
        self.left = request.input_tokens
        self.position = 0
        self.cached = 0
        self.first_cached = -1
        self.cached_by_tier = NO_TIERS
        self.copy_from: tuple[int, int] | None = None
        self.stage = STAGE_HELD
        self.doomed = -1
        self.is_counted = False
        self.target: Rank | None = None
        self.meant: Rank | None = None
        self.flow: Flow | None = None
        self.decode_private = 0
        self.decode_final = 0
        self.final = 0
        self.prefill_final = 0
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
