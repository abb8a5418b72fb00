"""What breaks, when it is repaired, what stands ready to replace it, and what is planned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from factory.scenario.autoscaling import Startup
from factory.scenario.base import (
    Count,
    Name,
    NonNegative,
    NonNegativeCount,
    Part,
    Positive,
    Text,
)
from factory.scenario.lengths import Length

Component = Literal["gpu", "tray", "node", "nvlink_domain", "rack", "row", "network"]
Kind = Literal["recoverable", "replacement"]
Target = Annotated[Text, Field(min_length=1)]

DAY_S = 86_400.0
YEAR_S = 365.25 * DAY_S

_TARGETS = (
    "RACK (as nvl72-0), RACK/node-3 (or tray-3), RACK/gpu-17, RACK/domain-0, network/RACK, a row, "
    "or a replica (as decode-2)"
)


class FailureProcess(Part):
    """Components of one kind that break by chance, each for itself."""

    name: Name = Field(description="Name of the process; names its random streams.")
    of: Component = Field(
        description="What breaks: gpu takes its replica down; tray or node every replica with a "
        "GPU there; nvlink_domain every replica that spans GPUs of it; rack, row (its power) and "
        "network (the rack's uplink) every replica beneath."
    )
    racks: Name | None = Field(default=None, description="Rack group; by default all of them.")
    mtbf_s: Positive | None = Field(
        default=None,
        description="Mean time from a repair of one component to its next failure, s.",
    )
    per_1000_node_days: Positive | None = Field(
        default=None,
        description="In place of mtbf_s, for gpu, tray and node: failures of 1,000 nodes (trays) "
        "in a day, as fleets report them; a GPU has its share of its node's.",
    )
    distribution: Literal["exponential", "weibull"] = Field(
        default="exponential", description="Law of the time to failure."
    )
    shape: Positive | None = Field(
        default=None,
        description="weibull: its shape; below 1 failures come early in a life, above 1 late.",
    )
    repair_s: Length = Field(
        description="From the failure until the component works again, s: a number or a "
        "distribution. Replicas start again after that."
    )
    kind: Kind = Field(
        default="recoverable",
        description="recoverable: mended in place (a reset, a reboot); replacement: a spare takes "
        "its place if there is one, and what broke comes back as a spare after repair_s.",
    )


class Fault(Part):
    """One thing that breaks at a stated time."""

    at_s: NonNegative = Field(description="When, s of simulated time.")
    target: Target = Field(description=f"What breaks: {_TARGETS}.")
    duration_s: Positive = Field(description="Until it works again, s.")
    kind: Kind = Field(default="recoverable", description="As of a process.")


class FaultTrace(Part):
    """Faults of a file."""

    path: Annotated[Text, Field(min_length=1)] = Field(
        description="CSV of time_s, target, duration_s, kind, in order of time; relative to the "
        "scenario's file."
    )
    sha256: Text | None = Field(
        default=None, description="Digest of the file; filled in when the scenario is loaded."
    )

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given


class Spares(Part):
    """Units that stand ready: GPUs of the racks that no pool uses."""

    racks: Name = Field(description="Rack group that they stand in, and for.")
    of: Literal["gpu", "tray", "node"] = Field(
        default="node", description="What one unit is; it also replaces what is smaller."
    )
    units: NonNegativeCount = Field(description="How many.")
    swap_s: NonNegative = Field(
        default=600.0, description="From a failure until a free unit has taken its place, s."
    )


class Maintenance(Part):
    """Planned work: what is served there first comes to its end."""

    at_s: NonNegative = Field(description="When the replicas begin to drain, s.")
    targets: Annotated[tuple[Target, ...], Field(min_length=1)] = Field(
        description=f"What is worked on, each for itself: {_TARGETS}."
    )
    duration_s: Positive = Field(
        description="The work, from when the last replica there has drained, s."
    )
    every_s: Positive | None = Field(
        default=None, description="Again after so many seconds from at_s; by default once."
    )
    drain_timeout_s: NonNegative | None = Field(
        default=None,
        description="What has not ended so long after at_s fails; by default it is waited for.",
    )


class Upgrade(Part):
    """New software, a few replicas at a time: drain, change, start."""

    pool: Name | None = Field(default=None, description="Pool whose replicas are upgraded.")
    deployment: Name | None = Field(
        default=None, description="In place of pool: all pools of a deployment, in order."
    )
    at_s: NonNegative = Field(description="When the first ones begin to drain, s.")
    at_once: Count = Field(default=1, description="Replicas that are out at a time.")
    duration_s: NonNegative = Field(
        default=0.0, description="From drained until a replica begins to start again, s."
    )
    drain_timeout_s: NonNegative | None = Field(
        default=None, description="What a replica has not ended so soon fails; by default none."
    )


class Failures(Part):
    """What breaks and what is planned; by default nothing."""

    preset: Name | None = Field(
        default=None,
        description="Published processes, beside those stated: llama-3 (419 interruptions in 54 "
        "days on 16,384 H100), low and high (4 and 6.5 in 1,000 node-days).",
    )
    processes: tuple[FailureProcess, ...] = Field(default=(), description="What breaks by chance.")
    trace: FaultTrace | None = Field(default=None, description="What broke, from a file.")
    faults: tuple[Fault, ...] = Field(default=(), description="What breaks at stated times.")
    spares: tuple[Spares, ...] = Field(default=(), description="What stands ready.")
    maintenance: tuple[Maintenance, ...] = Field(default=(), description="Planned work.")
    upgrades: tuple[Upgrade, ...] = Field(default=(), description="Rolling upgrades.")
    startup: Startup = Field(
        default=Startup(),
        description="How replicas of pools without autoscaling start again; scaled pools state it "
        "themselves.",
    )

    @property
    def all_processes(self) -> tuple[FailureProcess, ...]:
        """The processes stated, after those of the preset."""
        return (*PRESETS.get(self.preset or "", ()), *self.processes)


def _published(per_gpu_s: float, permanent_ratio: float) -> tuple[FailureProcess, ...]:
    """Interruptions of a GPU as published: most are over in minutes, some take a replacement.

    Args:
        per_gpu_s: GPU-seconds per interruption, of either kind.
        permanent_ratio: Share of GPUs that break for good in a year.
    """
    permanent_s = YEAR_S / permanent_ratio
    minutes = Length(distribution="uniform", min=300.0, max=1500.0)
    days = Length(distribution="uniform", min=3 * DAY_S, max=5 * DAY_S)
    return (
        FailureProcess(
            name="interruption",
            of="gpu",
            mtbf_s=1.0 / (1.0 / per_gpu_s - 1.0 / permanent_s),
            repair_s=minutes,
        ),
        FailureProcess(
            name="broken_gpu", of="gpu", mtbf_s=permanent_s, repair_s=days, kind="replacement"
        ),
    )


def _per_gpu_s(per_1000_node_days: float) -> float:
    """GPU-seconds per interruption of nodes of 8 GPUs."""
    return 8 * 1000 * DAY_S / per_1000_node_days


PRESETS: Mapping[str, tuple[FailureProcess, ...]] = {
    "llama-3": _published(16_384 * 54 * DAY_S / 419, 0.04),
    "low": _published(_per_gpu_s(4.0), 0.025),
    "high": _published(_per_gpu_s(6.5), 0.06),
}
"""Interruptions of GPUs and what they need. llama-3: The Llama 3 Herd of Models (Meta, 2024,
section 3.3.4): 419 unexpected interruptions in 54 days on 16,384 H100, that is 3.8 in 1,000
node-days. low and high: the range that operators report, 4 to 6.5 in 1,000 node-days of 8 GPUs,
of which 2.5 to 6 % of GPUs a year are permanent and are replaced after 3 to 5 days. llama-3 states
no such share: 4 % is assumed; and that the others take 5 to 25 minutes (assumed: "minutes")."""
