"""What the power tree drew, by window and by second, and what of it falls to each pool."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.facility.metering import seconds_between
from factory.facility.tree import (
    BRAKED_S,
    CAPPED_S,
    CURTAILED_S,
    DARK_S,
    GPU_J,
    LOSS_J,
    OTHER_J,
    PowerNode,
    PowerTree,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NodeEnergy:
    """One node of the tree.

    Attributes:
        gpu_j, other_j, loss_j: Joules by window of GPUs, of the rest, and lost in power supplies.
        watts: Mean IT power of each second.
    """

    gpu_j: Floats
    other_j: Floats
    loss_j: Floats
    watts: Floats

    @property
    def it_j(self) -> Floats:
        """IT energy by window, joules."""
        return self.gpu_j + self.other_j + self.loss_j


def node_energies(tree: PowerTree, count: int, end_s: float) -> list[NodeEnergy]:
    """Energy of every node, by its number.

    Args:
        tree: The tree, closed.
        count: Windows of the run.
        end_s: End of the run.
    """
    found: dict[int, NodeEnergy] = {}
    for rack in tree.racks:
        rows = np.array(rack.windows.fold(count))
        assert rack.bins is not None
        watts = rack.bins.watts(end_s)
        found[rack.number] = whole = NodeEnergy(
            rows[:, GPU_J], rows[:, OTHER_J], rows[:, LOSS_J], watts
        )
        servers = [node for node in rack.children if node.bins is not None]
        gpus = [node.bins.watts(end_s) for node in servers if node.bins is not None]
        if not servers:
            continue
        rest = watts - sum(gpus)
        for node, own in zip(servers, gpus, strict=True):
            share = node.gpus / rack.gpus
            found[node.number] = NodeEnergy(
                np.array(node.windows.fold(count))[:, GPU_J],
                whole.other_j * share,
                whole.loss_j * share,
                own + rest * share,
            )
    for node in reversed(tree.nodes):
        if node.number not in found:
            parts = [found[child.number] for child in node.children]
            zeros, seconds = np.zeros(count), np.zeros(_seconds(end_s))
            found[node.number] = NodeEnergy(
                sum((part.gpu_j for part in parts), zeros),
                sum((part.other_j for part in parts), zeros),
                sum((part.loss_j for part in parts), zeros),
                sum((part.watts for part in parts), seconds),
            )
    return [found[node.number] for node in tree.nodes]


def _seconds(end_s: float) -> int:
    whole = int(end_s)
    return whole + (end_s > whole)


def rest_by_pool(
    tree: PowerTree, energies: list[NodeEnergy], gpus: list[dict[int, int]], spans: Floats
) -> dict[int, Floats]:
    """Joules of racks beside their GPUs that fall to each pool, by window, shape (windows,).

    By the GPU-seconds that a pool has there, those that it gave back left out.

    Args:
        tree: The tree, closed.
        energies: From `node_energies`.
        gpus: Of each rack, the GPUs that each pool has there, by its code.
        spans: Seconds of each window.
    """
    found: dict[int, Floats] = {}
    for rack, own in zip(tree.racks, gpus, strict=True):
        energy = energies[rack.number]
        held = {pool: spans * count for pool, count in own.items()}
        for pool, count, from_s, to_s in rack.released:
            for index, seconds in seconds_between(from_s, to_s, rack.windows.window_s):
                held[pool][min(index, len(spans) - 1)] -= count * seconds
        whole = np.sum(list(held.values()), axis=0)
        rest_j = energy.other_j + energy.loss_j
        for pool, gpu_s in held.items():
            share = np.divide(gpu_s, whole, out=np.zeros(len(spans)), where=whole > 0.0)
            found[pool] = found.get(pool, 0.0) + rest_j * share
    return found


def limits(node: PowerNode, spans: list[float]) -> tuple[list[float], list[float]]:
    """The lowest limit in each window, W, and ∫ limit, J; NaN where it had none throughout."""
    window_s = node.windows.window_s
    lowest = [math.inf] * len(spans)
    joules = [0.0] * len(spans)
    ends = [at for at, _ in node.limits[1:]] + [math.inf]
    end_s = (len(spans) - 1) * window_s + spans[-1]
    for (from_s, limit_w), to_s in zip(node.limits, ends, strict=True):
        for index, seconds in seconds_between(from_s, min(to_s, end_s), window_s):
            place = min(index, len(spans) - 1)
            lowest[place] = min(lowest[place], limit_w)
            joules[place] += limit_w * seconds
    return [_known(value) for value in lowest], [_known(value) for value in joules]


def _known(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def power_rows(
    node: PowerNode, energy: NodeEnergy, spans: list[float], ratios: list[float]
) -> Iterator[tuple[float, ...]]:
    """The rows of ``fact_power`` of one node, a window each.

    Args:
        node: The node.
        energy: Its energy.
        spans: Seconds of each window.
        ratios: Facility over IT energy in each window.
    """
    window_s = node.windows.window_s
    marks = node.windows.fold(len(spans))
    lowest, limit_j = limits(node, spans)
    it_j = energy.it_j.tolist()
    peaks = _peaks(energy.watts, len(spans), window_s)
    budget_w = _known(node.rating_w)
    columns = (energy.gpu_j.tolist(), energy.other_j.tolist(), energy.loss_j.tolist())
    for index, span in enumerate(spans):
        row = marks[index]
        peak_w = max(peaks[index], it_j[index] / span) if span else 0.0
        yield (
            node.number,
            index,
            *(column[index] for column in columns),
            it_j[index],
            it_j[index] * ratios[index],
            peak_w,
            budget_w,
            lowest[index],
            limit_j[index] - it_j[index],
            row[CAPPED_S],
            row[BRAKED_S],
            row[DARK_S],
            row[CURTAILED_S],
        )


def _peaks(watts: Floats, count: int, window_s: float) -> list[float]:
    """Highest one-second mean in each window, of the seconds that it overlaps; 0 for none."""
    peaks = []
    for index in range(count):
        seconds = watts[math.floor(index * window_s) : math.ceil((index + 1) * window_s)]
        peaks.append(float(seconds.max()) if len(seconds) else 0.0)
    return peaks
