"""On facilities and loads that Hypothesis invents: limits at every event, energy twice over."""

from __future__ import annotations

import math
from typing import Any

from factories import scenarios
from hypothesis import HealthCheck, assume, given, settings
from observed import BoundedKernel, prepare

from factory.errors import ScenarioError
from factory.facility.tree import GPU_J, LOSS_J, OTHER_J
from factory.scenario import catalog, load
from factory.simulation.power_builder import settled
from factory.simulation.preflight import preflight
from factory.simulation.run import drive

TIGHT = 1 + 1e-9


class WatchedKernel(BoundedKernel):
    """Looks at every node of the tree whenever time is about to pass."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.look: Any = None

    def run_events(self, most: int, until_s: float) -> bool:
        """Fires events one by one."""
        for _ in range(most):
            if not super().run_events(1, until_s):
                return False
            if self._queue and self._queue[0][0] > self.now:
                self.look(self.now)
        return True


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenario=scenarios(budget=True, speculative=False))
def test_no_limit_is_passed_and_energy_is_the_integral(scenario: dict[str, Any]) -> None:
    try:
        made = load(scenario)
    except ScenarioError:
        assume(False)
    assume(not preflight(made, catalog()))
    made = settled(made, catalog())
    kernel = WatchedKernel(2_000_000)
    plant = prepare(made, kernel, [])
    tree = plant.tree
    over: list[str] = []
    # What the tree drew since it last changed, by a log of its own, from the plugs and the laws.
    logged_j = [0.0] * len(tree.racks)
    drawn_w = [rack.power_w for rack in tree.racks]
    since_s = [0.0]

    def look(now_s: float) -> None:
        for number, rack in enumerate(tree.racks):
            logged_j[number] += drawn_w[number] * (now_s - since_s[0])
            gpu_w = rack.always_w + math.fsum(feed.watts for feed in rack.feeds)
            drawn_w[number] = rack.it_w(gpu_w)
        since_s[0] = now_s
        if plant.ideal is None:
            return
        over.extend(
            f"{node.name}: {node.power_w} of {node.limit_w} W at {now_s} s"
            for node in tree.nodes
            if node.power_w > node.limit_w * TIGHT
        )

    kernel.look = look
    end_s = drive(made, plant, kernel, lambda: None, None, 0.0)
    assert not over, over[:3]
    look(kernel.now)  # of the last event, after which there may be nothing to wait for
    look(end_s)
    for rack, own_j in zip(tree.racks, logged_j, strict=True):
        sums = math.fsum(
            row[field] for row in rack.windows.rows for field in (GPU_J, OTHER_J, LOSS_J)
        )
        assert math.isclose(sums, own_j, rel_tol=1e-9, abs_tol=1e-9)
        assert math.isclose(rack.it_j(end_s), own_j, rel_tol=1e-9, abs_tol=1e-9)
