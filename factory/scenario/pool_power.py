"""The power of a pool's GPUs: static caps, profiles, and who gives way first."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from factory.scenario.base import Part, Positive

ProfileName = Literal["max_p", "max_q"]

HIGHEST_PRIORITY = 100


class PoolPower(Part):
    """What holds a pool's GPUs besides the budgets above them."""

    cap_w: Positive | None = Field(
        default=None,
        description="Device cap, W per GPU: the clock falls until the draw is within it; between "
        "idle and TDP, by default TDP.",
    )
    profile: ProfileName = Field(
        default="max_p",
        description="Power profile, as NVIDIA names them. max_p: highest performance, no lock; "
        "max_q: best performance per watt, a clock lock by GPU generation. The lower of it and "
        "clock_ratio holds.",
    )
    priority: Annotated[int, Field(strict=True, ge=0, le=HIGHEST_PRIORITY)] = Field(
        default=0,
        description="Who gives way first where power is short: control by priority lowers the "
        "lowest first, 0 to 100.",
    )
