"""What a session does beyond one request, and what its prompts share with others."""

from __future__ import annotations

from pydantic import Field

from factory.scenario.base import Count, Flag, NonNegativeCount, Part
from factory.scenario.lengths import Length, constant


class SharedPrefix(Part):
    """Tokens that prompts of different sessions have in common, e.g. a system prompt."""

    tokens: NonNegativeCount = Field(
        default=0, description="Length of the prefix, put before a session's first input."
    )
    count: Count = Field(default=1, description="Distinct prefixes; a session draws one of them.")


class Session(Part):
    """What a session does beyond one request."""

    turns: Length = Field(default=constant(1), description="Requests of a session.")
    think_time_s: Length = Field(
        default=constant(0), description="From an answer to the next turn, s."
    )
    growth: Flag = Field(
        default=False,
        description="Each turn's prompt is the previous prompt and output plus new input_tokens.",
    )
