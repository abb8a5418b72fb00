"""Who is let in, who waits, who is turned away, and how clients take it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from factory.scenario.base import (
    Count,
    Flag,
    Name,
    NonNegative,
    NonNegativeCount,
    Number,
    Part,
    Positive,
    Ratio,
    Share,
)

QueueOrder = Literal["fcfs", "priority", "shortest_first", "fair", "lpm"]
TTFT_FACTOR = 0.8
"""Share of the limit at which a prediction turns away: one that is right on average lets half of
those come late whom it lets in at the limit itself (assumed)."""

Shed = Literal["none", "queue_limit", "predicted_ttft"]
RetryOn = Literal["rejected", "timed_out", "failed"]


class Queueing(Part):
    """In which order waiting requests are served."""

    order: QueueOrder = Field(
        default="fcfs",
        description="fcfs: higher priority, then arrival; priority: the same, with ageing; "
        "shortest_first: higher priority, then fewest prompt tokens to compute; fair: higher "
        "priority, then the tenant served least for its weight (virtual token counter); lpm: "
        "longest cached prefix, as SGLang.",
    )
    ageing_s: Positive | None = Field(
        default=None,
        description="priority: wait after which a request counts one priority higher, s; by "
        "default it never does.",
    )
    ageing_tokens_per_s: NonNegative = Field(
        default=0.0,
        description="shortest_first: tokens by which a wait of 1 s shortens a request.",
        json_schema_extra={"unit": "tokens/s"},
    )
    input_weight: NonNegative = Field(
        default=1.0, description="fair: service that a prompt token counts for."
    )
    output_weight: NonNegative = Field(
        default=2.0, description="fair: service that an output token counts for."
    )
    max_matched: Count = Field(
        default=128, description="lpm: waiting requests above which the order is fcfs."
    )


class Timeouts(Part):
    """After what time a tenant's clients give up; the work done until then is lost."""

    ttft_timeout_s: Positive | None = Field(
        default=None, description="Wait for the first token, s; by default without end."
    )
    timeout_s: Positive | None = Field(
        default=None, description="Wait for the whole answer, s; by default without end."
    )


class Retry(Part):
    """How a tenant's clients try again; the defaults are those of OpenAI's Python client (2025)."""

    attempts: Count = Field(default=3, description="Attempts in all, the first among them.")
    backoff_s: Positive = Field(default=0.5, description="Wait before the first retry, s.")
    multiplier: Annotated[Number, Field(ge=1)] = Field(
        default=2.0, description="By this each wait is longer than the one before."
    )
    max_backoff_s: Positive = Field(default=8.0, description="Longest wait, s.")
    jitter: Share = Field(
        default=0.25,
        description="Largest share by which a wait is shortened at random; 1 is full jitter.",
    )
    on: tuple[RetryOn, ...] = Field(
        default=("rejected", "timed_out", "failed"), description="Outcomes that are tried again."
    )
    throttle_tokens: Count | None = Field(
        default=None,
        description="As gRPC's retry throttling (maxTokens): a failure takes a token, and with "
        "half of them or fewer left nothing is retried; by default no limit.",
    )
    throttle_ratio: Positive | None = Field(
        default=None, description="With throttle_tokens: tokens that a success gives back."
    )


class RateLimit(Part):
    """Token buckets that a tenant's requests are taken from; an empty one turns away (429)."""

    requests_per_s: Positive | None = Field(
        default=None,
        description="Requests per second; by default no limit.",
        json_schema_extra={"unit": "requests/s"},
    )
    burst_requests: Count | None = Field(
        default=None, description="Requests saved up at most; by default a minute's."
    )
    tokens_per_s: Positive | None = Field(
        default=None,
        description="Tokens per second; prompts count when they come, answers when they end; by "
        "default no limit.",
        json_schema_extra={"unit": "tokens/s"},
    )
    burst_tokens: Count | None = Field(
        default=None, description="Tokens saved up at most; by default a minute's."
    )


class TenantAdmission(Part):
    """What a deployment grants one tenant."""

    kind: Literal["interactive", "batch"] = Field(
        default="interactive",
        description="batch: kept outside, and let in only while nothing waits and the load is low.",
    )
    weight: Positive = Field(
        default=1.0, description="Share among tenants of one priority, where they compete."
    )
    shed_at: Ratio = Field(
        default=1.0,
        description="Share of a shedding limit at which this tenant is turned away: below 1, it "
        "goes first.",
    )
    preemptible: Flag | None = Field(
        default=None,
        description="Whether its running requests give way to higher priority; by default those "
        "of kind batch do.",
    )
    max_concurrency: Count | None = Field(
        default=None, description="Its requests inside at once; by default no limit."
    )
    max_held_requests: NonNegativeCount | None = Field(
        default=None, description="Its requests kept outside at once; by default no limit."
    )
    rate_limit: RateLimit = Field(default=RateLimit(), description="Requests and tokens a second.")

    @property
    def yields(self) -> bool:
        """`preemptible`, as stated or by kind."""
        return self.kind == "batch" if self.preemptible is None else self.preemptible


class Admission(Part):
    """Who enters a deployment, and what happens at its limits."""

    shed: Shed = Field(
        default="none",
        description="none: everybody queues; queue_limit: turned away (503) while too many wait; "
        "predicted_ttft: also when the first token would come too late.",
    )
    max_queue_requests: Count | None = Field(
        default=None,
        description="queue_limit, predicted_ttft: requests that wait in the deployment at most.",
    )
    max_queue_requests_per_replica: Count | None = Field(
        default=None,
        description="queue_limit, predicted_ttft: the same, times the replicas that take requests; "
        "with both, the lower counts.",
    )
    ttft_factor: Positive | None = Field(
        default=None,
        description="predicted_ttft: turned away when the prediction exceeds the tenant's limit "
        "(slo.ttft_s, else its time-out) times this; by default 0.8.",
    )
    max_concurrency: Count | None = Field(
        default=None, description="Requests inside at once, all tenants; by default no limit."
    )
    over_concurrency: Literal["wait", "reject"] = Field(
        default="wait",
        description="Requests above a max_concurrency wait outside, by priority and then fewest "
        "inside per weight, or are turned away (429).",
    )
    batch_load_ratio: Ratio = Field(
        default=0.8,
        description="Load (the higher of requests and prompt tokens inside, over what the replicas "
        "hold) below which batch work is let in.",
    )
    tenants: dict[Name, TenantAdmission] = Field(
        default={}, description="What each tenant is granted, by its name."
    )
