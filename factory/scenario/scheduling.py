"""How an engine's scheduler fills its steps: the ``scheduler`` section of a pool's engine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from factory.scenario.admission import Queueing
from factory.scenario.base import Flag, Positive, Share

SchedulerPolicy = Literal["vllm", "sglang", "trtllm"]


WATERMARK_RATIO = 0.01
"""vLLM's `watermark` by default."""


class Scheduler(Queueing):
    """Which sequences run in a step, and who goes when KV memory runs out."""

    policy: SchedulerPolicy = Field(
        default="vllm",
        description="vllm: decoding first, prompts in chunks beside it, preemption by recompute; "
        "sglang: prompts first and alone, retraction; trtllm: as vllm, but only what surely fits "
        "is let in (GUARANTEED_NO_EVICT).",
    )
    chunked_prefill: Flag | None = Field(
        default=None,
        description="vllm, trtllm: whether a step may compute a part of a prompt; by default true. "
        "If not, prompts are at most max_num_batched_tokens long.",
    )
    schedule_conservativeness: Positive | None = Field(
        default=None,
        description="sglang: multiplies the share of their allowed output that running sequences "
        "are expected to need; by default 1.",
    )
    watermark_ratio: Share | None = Field(
        default=None,
        description="vllm: share of KV blocks that admission leaves free for growth; by default "
        "0.01.",
    )

    @property
    def watermark(self) -> float:
        """`watermark_ratio`, or its default; 0 for policies that count what will be needed."""
        if self.policy != "vllm":
            return 0.0
        return WATERMARK_RATIO if self.watermark_ratio is None else self.watermark_ratio

    @property
    def is_chunked(self) -> bool:
        """`chunked_prefill`, or its default."""
        return self.chunked_prefill is not False


POLICY_FIELDS = {
    "chunked_prefill": ("vllm", "trtllm"),
    "schedule_conservativeness": ("sglang",),
    "watermark_ratio": ("vllm",),
}
"""Fields that belong to some policies only."""
