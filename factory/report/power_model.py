"""What is shown of power and of cells, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells that a run stands for.

    Attributes:
        count: how many.
        simulated: how many of them were simulated.
        spread: (mean of a simulated cell, standard error of it) by figure; None for what is not
            known, as the error of a single cell.
    """

    count: int = 1
    simulated: int = 1
    spread: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node of the power tree over the measured interval; of all cells if it is the facility.

    Attributes:
        name: its name.
        level: facility, row, rack or node.
        budget_kw: its budget, at IT; None without one.
        mean_kw: mean IT power.
        peak_kw: highest second of it.
        headroom_ratio: mean headroom over its limit; None without a limit.
        capped_s: time with clocks lowered to keep its limit.
        braked_s: time under a brake.
        dark_s: time without power.
        stranded_kw: what of its budget can never be drawn.
    """

    name: str
    level: str
    budget_kw: float | None
    mean_kw: float | None
    peak_kw: float | None
    headroom_ratio: float | None
    capped_s: float
    braked_s: float
    dark_s: float
    stranded_kw: float | None


@dataclass(frozen=True, slots=True)
class PowerLine:
    """Power of the facility at its grid connection by window; None where it is not known.

    Attributes:
        grid_kw: mean power from the grid.
        peak_kw: highest second of it.
        limit_kw: the least that a curtailment or the facility's own limit left to it.
        marks: share of each window in which something lowered power or took GPUs away, by what.
    """

    grid_kw: tuple[float | None, ...] = ()
    peak_kw: tuple[float | None, ...] = ()
    limit_kw: tuple[float | None, ...] = ()
    marks: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def binned(self, spans: Sequence[slice], window_s: Sequence[float]) -> PowerLine:
        """The same in fewer windows: means and shares by time, highest second, least limit.

        Args:
            spans: the windows of each new one.
            window_s: span of each window as it is, s.
        """

        def mean(values: Sequence[float | None]) -> tuple[float | None, ...]:
            return tuple(_mean(values[span], window_s[span]) for span in spans)

        return PowerLine(
            grid_kw=mean(self.grid_kw),
            peak_kw=tuple(max(_present(self.peak_kw[span]), default=None) for span in spans),
            limit_kw=tuple(min(_present(self.limit_kw[span]), default=None) for span in spans),
            marks={
                key: tuple(share or 0.0 for share in mean(shares))
                for key, shares in self.marks.items()
            },
        )


def _present(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float | None], seconds: Sequence[float]) -> float | None:
    pairs = [(v, s) for v, s in zip(values, seconds, strict=False) if v is not None]
    all_s = math.fsum(s for _, s in pairs)
    return math.fsum(v * s for v, s in pairs) / all_s if all_s else None


@dataclass(frozen=True, slots=True)
class Power:
    """What the facility may draw, and drew at most.

    Attributes:
        facility_peak_kw: highest power of the facility over a second of the measured interval.
        peak_kw: the same from the grid: with what a battery took or gave.
        grid_kw: mean power from the grid.
        grid_kwh: energy from the grid.
        contracted_kw: contracted facility power.
        budget_kw: facility power that budgets and racks leave usable; None when no node has a
            budget.
        stated_kw: budget of the facility itself; None without one.
        budgeted: by level below it, how many nodes of all cells have a budget, and their sum at IT.
        peak_quarter_kw: highest whole quarter of an hour; None when none is whole.
        peak_quarter: when it began by the facility's clock.
        pue: facility energy over IT energy.
        tightest: the node with the least headroom; empty when none has a limit.
        headroom_ratio: its mean headroom over its limit.
        capped_ratio: share of the time with clocks lowered somewhere.
        capped_node: the node that lowered them longest; empty without one.
        device_caps: pools whose GPUs have a cap of their own.
        braked_ratio: share of it with a power brake somewhere.
        curtailed_s: time under a curtailment of the grid.
        excess_kwh: energy above the limits of curtailments.
        stranded_kw: contracted power that the tree can never draw.
        by_cause: kWh by what the grid's energy went to.
        electricity_usd: what it cost; None without a series of prices.
        emissions_g: what it emitted; None without a series.
        is_side_account: whether prices per GPU-hour cover electricity already.
        battery: kWh that the battery took and gave, and held at the end; None without one.
        availability_ratio: share of the pools' GPU time that was not down.
        restarting: share of it in starts, by the state that they came after.
        resuming_ratio: share of it in starts after a pause, which is no outage.
        down: share of it by state in which GPUs were down, starts left out.
        above: what is to be said of budgets that were passed.
        nodes: the tree, its tightest nodes first.
        more_nodes: nodes that `nodes` leaves out.
    """

    facility_peak_kw: float | None = None
    peak_kw: float | None = None
    grid_kw: float | None = None
    grid_kwh: float | None = None
    contracted_kw: float | None = None
    budget_kw: float | None = None
    stated_kw: float | None = None
    budgeted: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    peak_quarter_kw: float | None = None
    peak_quarter: str = ""
    pue: float | None = None
    tightest: str = ""
    headroom_ratio: float | None = None
    capped_ratio: float = 0.0
    capped_node: str = ""
    device_caps: tuple[str, ...] = ()
    braked_ratio: float = 0.0
    curtailed_s: float = 0.0
    excess_kwh: float = 0.0
    stranded_kw: float | None = None
    by_cause: Mapping[str, float] = field(default_factory=dict)
    electricity_usd: float | None = None
    emissions_g: float | None = None
    is_side_account: bool = False
    battery: tuple[float, float, float] | None = None
    availability_ratio: float | None = None
    restarting: Mapping[str, float] = field(default_factory=dict)
    resuming_ratio: float = 0.0
    down: Mapping[str, float] = field(default_factory=dict)
    above: tuple[str, ...] = ()
    nodes: tuple[TreeNode, ...] = ()
    more_nodes: int = 0
