"""Several tenants as shares of one demand: the `mix` of a workload."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from factory.scenario.base import Name, NonNegative, Part, Positive, Share
from factory.scenario.tenant_load import RateProfile

Held = Literal["sessions", "requests", "tokens", "output_tokens"]
Shares = Annotated[dict[Name, Share], Field(min_length=1)]


class MixPoint(Part):
    """The shares at one time."""

    at_s: NonNegative = Field(description="Time since the run began, s.")
    shares: Shares = Field(
        description="Share of each tenant in what is held; they sum to 1.",
    )


class Mix(Part):
    """What tenants share: their sum stays at `rate` whatever their shares are.

    A tenant's share is of what is held: with `hold: tokens` and a share of 0.3, three tenths of
    all tokens are its own. Its sessions per second follow from the mean of its sessions.
    """

    hold: Held = Field(
        default="requests",
        description="What the rate counts and shares divide, all tenants together. tokens: prompt "
        "tokens, cached ones too, and outputs, as an API bills them.",
    )
    rate: Positive = Field(
        description="Of what is held per second, all tenants together.",
        json_schema_extra={"unit": "what is held per second"},
    )
    shares: Shares | None = Field(
        default=None, description="Share of each tenant in what is held; they sum to 1."
    )
    schedule: Annotated[tuple[MixPoint, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="In place of shares: shares at times, linear between them, constant before the "
        "first and after the last.",
    )
    toward: Shares | None = Field(default=None, description="Shares at position 1; they sum to 1.")
    position: Share = Field(
        default=0.0,
        description="How far the shares have moved from shares or schedule (0) to toward (1).",
        json_schema_extra={"unit": "ratio"},
    )
    profile: RateProfile | None = Field(
        default=None, description="Rate over time relative to its mean, for all tenants alike."
    )


def tenants_of(mix: Mix) -> list[str]:
    """Names of the tenants that a mix feeds, at any position or time, in order of mention."""
    stated = [mix.shares, *(point.shares for point in mix.schedule or ()), mix.toward]
    return list(dict.fromkeys(name for shares in stated for name in shares or ()))
