"""Conditional disaggregation: which prompts are prefilled where they will be decoded.

Dynamo (1.5, 2026, "Conditional Disaggregation") decides when a request arrives, knowing what the
decode replica that it would get has cached:

    isl_bounding  stays iff uncached < 2048 and uncached / prompt < 0.7
    prefill_load  stays iff the prefill worker that it would get is busy
    isl_or_load   stays if either holds

There, busy compares tokens with a threshold that is unset by default; here prompts that wait are
counted, as in Dynamo's first router (0.3, 2025):

    prefill_queue stays iff uncached <= 1000 or at least 2 prompts wait for prefill
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.scenario.transfer import ConditionalDisaggregation

_UNCACHED_TOKENS = 2048
_UNCACHED_RATIO = 0.7
_LOCAL_TOKENS = 1000
_QUEUED = 2


def stays_local(
    uncached_tokens: int,
    input_tokens: int,
    queued_prefills: int,
    settings: ConditionalDisaggregation,
) -> bool:
    """Whether a prompt is prefilled at the decode replica that it would get.

    Args:
        uncached_tokens: Tokens of the prompt that this replica has not cached.
        input_tokens: All tokens of the prompt.
        queued_prefills: Prompts that wait at the prefill replica that it would get otherwise.
        settings: The rule.
    """
    policy = settings.policy
    most = settings.max_uncached_tokens
    busy = queued_prefills >= (settings.max_queued_prefills or _QUEUED)
    if policy == "prefill_load":
        return busy
    if policy == "prefill_queue":
        return busy or uncached_tokens <= (most or _LOCAL_TOKENS)
    ratio = uncached_tokens / max(input_tokens, 1)
    short = uncached_tokens < (most or _UNCACHED_TOKENS)
    short = short and ratio < (settings.max_uncached_ratio or _UNCACHED_RATIO)
    return short or (policy == "isl_or_load" and busy)
