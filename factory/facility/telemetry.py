"""What an operator's meter reports of a power node: a mean, at intervals, and so stale."""

from __future__ import annotations

from collections import deque

from factory.facility.tree import PowerNode


class Telemetry:
    """Mean power of a node over the last samples.

    Reading it changes nothing: it is a difference of exact energies, so that what others do between
    samples, and in how many events, does not matter.

    Args:
        node: What is metered: of racks and above, their IT power.
        interval_s: Seconds between samples.
        samples: Intervals over which a report is the mean.
    """

    __slots__ = ("_count", "_energies", "_node", "interval_s")

    def __init__(self, node: PowerNode, interval_s: float, samples: int = 1) -> None:
        self._node = node
        self.interval_s = interval_s
        self._count = 0
        self._energies = deque([0.0], maxlen=samples + 1)

    @property
    def next_s(self) -> float:
        """When the next sample is due, seconds."""
        return (self._count + 1) * self.interval_s

    def sample(self, now_s: float) -> float:
        """Takes the sample that is due; returns the mean power that it shows, watts.

        Until so many samples are there, the mean is over those that are.
        """
        self._count += 1
        energies = self._energies
        energies.append(self._node.it_j(now_s))
        return (energies[-1] - energies[0]) / ((len(energies) - 1) * self.interval_s)
