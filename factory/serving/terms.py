"""What a deployment knows before any request comes: its clients, and what holds for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from factory.scenario.transfer import ConditionalDisaggregation


@dataclass(frozen=True, slots=True)
class Client:
    """What a deployment knows of a tenant's clients.

    Attributes:
        priority: Higher goes first.
        ttft_timeout_s, timeout_s: When they give up, seconds; infinite for never.
    """

    priority: int = 0
    ttft_timeout_s: float = inf
    timeout_s: float = inf


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every request of a deployment.

    Attributes:
        prompt_limit: Prompt tokens that the entry pool can hold.
        model_len: Prompt and output tokens that a sequence may have.
        kv_bytes: Bytes of KV of a prompt of so many tokens, over a whole replica.
        handover_steps: Steps of a decode replica that a sequence waits for after its KV came.
        is_fair: Whether queues count what tenants were served.
        is_early: Whether decode's room is taken, and KV leaves, before a prompt is computed.
        last_bytes: Bytes of KV that are there only when a prompt is, of a last step of so many
            tokens.
        local: When a prompt is computed where it decodes; None for never.
    """

    prompt_limit: int
    model_len: int
    kv_bytes: Callable[[int], float]
    handover_steps: float = 0.0
    is_fair: bool = False
    is_early: bool = False
    last_bytes: Callable[[int], float] = float
    local: ConditionalDisaggregation | None = None
