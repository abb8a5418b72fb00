"""The one question that a scheduler asks about time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from factory.performance.segment import Segment
from factory.performance.work import RankWork


class StepModel(Protocol):
    """Answers how long the next steps of a replica last.

    Attributes:
        peak_flops: FLOP/s of one GPU at full clock in the format of the weights: what MFU is over.
        peak_hbm: HBM bytes/s of one GPU: what MBU is over.
        host_s: Seconds of every step in which GPUs have nothing to run and wait for their host.
    """

    @property
    def peak_flops(self) -> float: ...  # noqa: D102

    @property
    def peak_hbm(self) -> float: ...  # noqa: D102

    @property
    def host_s(self) -> float: ...  # noqa: D102

    def plan(self, ranks: Sequence[RankWork], clock: float, max_steps: int) -> Segment:
        """The line on which the next steps lie.

        A function of its arguments alone. A state further along a segment gets the same line, to
        rounding.

        Args:
            ranks: The work of each attention rank, at least one of them with work. A replica
                without attention data parallelism has one.
            clock: Clock as a fraction of the nominal one, in (0, 1].
            max_steps: Steps until the batch's membership changes, at least 1.

        Returns:
            A segment of at most ``max_steps`` steps. It is shorter where its line ends before.
        """
        ...
