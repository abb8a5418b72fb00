"""One run through the real components, its rows and sums kept in memory: no files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.errors import ScenarioError
from factory.kernel import Kernel
from factory.scenario import Scenario, catalog, load
from factory.simulation.plant import Plant, assemble
from factory.simulation.preflight import preflight
from factory.simulation.run import drive
from factory.workload import build

COLUMNS = (
    "request",
    "root",
    "attempt",
    "session",
    "turn",
    "parent",
    "deployment",
    "tenant",
    "prefill_replica",
    "prefill_rank",
    "decode_replica",
    "decode_rank",
    "outcome",
    "first_arrival_s",
    "arrival_s",
    "prefill_start_s",
    "prefill_end_s",
    "first_token_s",
    "completion_s",
    "input_tokens",
    "computed",
    "recomputed",
    "cached",
    "cached_host",
    "cached_disk",
    "cached_remote",
    "requested_output_tokens",
    "output_tokens",
    "decode_steps",
    "preemptions",
    "transfer_bytes",
    "transfer_s",
    "gpu_s_computed",
    "gpu_s_cached",
    "gpu_s_output",
    "energy_input_j",
    "energy_output_j",
    "task",
    "agent",
)
"""The raw columns of fact_requests, in the order in which the engine writes them."""

Row = tuple[Any, ...]


class EndlessError(AssertionError):
    """A run fired more events than any run of its size should."""


class BoundedKernel(Kernel):
    """A kernel that gives up after so many events, so that a run that never ends fails."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def run_events(self, most: int, until_s: float) -> bool:
        """Fires up to ``most`` events, as the kernel does."""
        more = super().run_events(most, until_s)
        if self.fired > self.most:
            raise EndlessError(f"{self.fired} events by {self.now} s")
        return more


@dataclass(frozen=True, slots=True)
class Observed:
    """What a run left behind.

    Attributes:
        rows: Rows of fact_requests, as written.
        pools, tenants, racks: Sums by window, of each.
        seconds: Mean IT draw of each rack by second, watts.
        end_s: When it ended, seconds.
        fired: Events.
        plant: What was simulated.
    """

    rows: list[Row]
    pools: list[list[list[float]]]
    tenants: list[list[list[float]]]
    racks: list[list[list[float]]]
    seconds: list[list[float]]
    end_s: float
    fired: int
    plant: Plant

    def column(self, name: str) -> list[Any]:
        """One column of `rows`, in order of request."""
        at = COLUMNS.index(name)
        return [row[at] for row in sorted(self.rows)]


def observe(scenario: Scenario | Mapping[str, Any], most: int = 2_000_000) -> Observed:
    """Runs a scenario as `factory.simulation.simulate` does, without writing anything.

    Args:
        scenario: Loaded, or plain data to load.
        most: Events after which it is taken for endless.

    Raises:
        ScenarioError: If it cannot be run.
    """
    made = scenario if isinstance(scenario, Scenario) else load(scenario)
    problems = preflight(made, catalog())
    if problems:
        raise ScenarioError(problems)
    rows: list[Row] = []
    kernel = BoundedKernel(most)
    plant = prepare(made, kernel, rows)
    end_s = drive(made, plant, kernel, _nothing, None, 0.0)
    return gathered(plant, rows, kernel, end_s)


def gathered(plant: Plant, rows: list[Row], kernel: Kernel, end_s: float) -> Observed:
    """What a run that ended at ``end_s`` left behind."""
    return Observed(
        rows,
        [_trimmed(pool.windows.rows) for pool in plant.pools],
        [_trimmed(windows.rows) for windows in plant.tenants],
        [_trimmed(rack.windows.rows) for rack in plant.tree.racks],
        [rack.bins.watts(end_s).tolist() for rack in plant.tree.racks if rack.bins is not None],
        end_s,
        kernel.fired,
        plant,
    )


def prepare(scenario: Scenario, kernel: Kernel, rows: list[Row]) -> Plant:
    """The plant of a scenario, before anything happens; finished requests go to ``rows``."""
    known = catalog()
    sizes = [deployment.block_size or 64 for deployment in scenario.deployments]
    workload = build(scenario, known, sizes)
    return assemble(scenario, known, workload, kernel, rows.append, [].append)


def _nothing() -> None:
    pass


def _trimmed(rows: list[list[float]]) -> list[list[float]]:
    """Without windows in which nothing was booked: how far an empty list was made is no result."""
    last = max((i for i, row in enumerate(rows) if any(row)), default=-1)
    return rows[: last + 1]


def differences(one: Observed, other: Observed) -> list[str]:
    """Where two runs differ, at all, in rows, sums, peaks or end; in words."""
    found = []
    if one.end_s != other.end_s:
        found.append(f"end: {one.end_s!r} and {other.end_s!r}")
    found += _row_differences(one.rows, other.rows)
    for what in ("pools", "tenants", "racks"):
        for number, (mine, yours) in enumerate(
            zip(getattr(one, what), getattr(other, what), strict=True)
        ):
            if len(mine) != len(yours):
                found.append(f"{what}[{number}]: {len(mine)} and {len(yours)} windows")
            for window, (left, right) in enumerate(zip(mine, yours, strict=False)):
                found += [
                    f"{what}[{number}] window {window} field {field}: {a!r} and {b!r}"
                    for field, (a, b) in enumerate(zip(left, right, strict=True))
                    if a != b
                ]
    if one.seconds != other.seconds:
        found.append("seconds: the draw of some second differs")
    return found


def _row_differences(one: list[Row], other: list[Row]) -> list[str]:
    if len(one) != len(other):
        return [f"rows: {len(one)} and {len(other)}"]
    mine, yours = sorted(one), sorted(other)
    found = [
        f"request {left[0]} {name}: {a!r} and {b!r}"
        for left, right in zip(mine, yours, strict=True)
        for name, a, b in zip(COLUMNS, left, right, strict=True)
        if a != b and not (_is_nan(a) and _is_nan(b))
    ]
    if not found and [row[0] for row in one] != [row[0] for row in other]:
        found.append(f"order of rows: {[r[0] for r in one]} and {[r[0] for r in other]}")
    return found


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
