from __future__ import annotations

from math import inf

import pytest
from power_trees import LOSS, OTHER_W, Load, law

from factory.facility import Feed, PowerNode, PowerTree
from factory.facility.tree import BRAKED_S, DARK_S, GPU_J, LOSS_J, OTHER_J

SPARE_W = 30.0


class Rack:
    """A facility of one rack of eight GPUs in two servers; a load of four GPUs on each."""

    def __init__(self) -> None:
        self.root = PowerNode("hall", 0, "facility", None, 8, inf, 10.0)
        self.rack = PowerNode("rack", 1, "rack", self.root, 8, 5000.0, 10.0, law, SPARE_W)
        self.servers = [
            PowerNode(f"server-{i}", 2 + i, "node", self.rack, 4, inf, 10.0, law, SPARE_W * (1 - i))
            for i in range(2)
        ]
        self.tree = PowerTree([self.root, self.rack, *self.servers])
        self.loads = [Load(100.0, 400.0), Load(100.0, 400.0)]
        self.feeds = []
        for number, (load, server) in enumerate(zip(self.loads, self.servers, strict=True)):
            feed = Feed(number, 0, "aggregated", 4, self.rack, [(server, 1.0)], (0.5, 1.0))
            load.plug(feed)
            self.feeds.append(feed)

    def sums(self, node: PowerNode, field: int) -> list[float]:
        return [row[field] for row in node.windows.fold(4)]


def it_w(gpu_w: float) -> float:
    return gpu_w * (1 + LOSS) + OTHER_W


def test_racks_add_up_to_what_is_above() -> None:
    made = Rack()
    assert made.rack.power_w == pytest.approx(it_w(200.0 + SPARE_W))
    assert made.root.power_w == made.rack.power_w
    made.feeds[0].draw(15.0, 500.0)
    assert made.root.power_w == pytest.approx(it_w(600.0 + SPARE_W))
    made.tree.close(40.0)
    gpu_j = [10 * 230.0, 5 * 230.0 + 5 * 630.0, 10 * 630.0, 10 * 630.0]
    assert made.sums(made.rack, GPU_J) == pytest.approx(gpu_j)
    assert made.sums(made.rack, OTHER_J) == pytest.approx([10 * OTHER_W] * 4)
    assert made.sums(made.rack, LOSS_J) == pytest.approx([LOSS * joules for joules in gpu_j])
    servers = [made.sums(server, GPU_J) for server in made.servers]
    assert [sum(both) for both in zip(*servers, strict=True)] == pytest.approx(gpu_j)
    assert made.root.it_j(40.0) == pytest.approx(sum(gpu_j) * (1 + LOSS) + 40 * OTHER_W)


def test_a_dark_rack_draws_exactly_nothing_its_servers_neither() -> None:
    made = Rack()
    for feed in made.feeds:
        feed.draw(10.0, 123.456)
    for feed in made.feeds:
        feed.draw(12.0, 0.0)
    made.rack.cut(12.0)
    assert [node.power_w for node in made.tree.nodes] == [0.0] * 4
    made.rack.cut(15.0)  # a second cause
    made.rack.restore(20.0)
    assert made.rack.is_dark
    made.rack.restore(31.0)
    assert made.rack.power_w == pytest.approx(it_w(SPARE_W))
    made.tree.close(40.0)
    for node in (made.rack, *made.servers):
        assert made.sums(node, DARK_S) == pytest.approx([0.0, 8.0, 10.0, 1.0])
        assert made.sums(node, GPU_J)[2] == 0.0
    dark = [made.sums(server, GPU_J)[3] for server in made.servers]
    assert dark == pytest.approx([9.0 * SPARE_W, 0.0])


def test_gpus_given_back_take_their_hosts_along() -> None:
    made = Rack()
    made.feeds[0].released(5.0, given=True)
    made.feeds[0].draw(5.0, 0.0)
    assert made.rack.present == pytest.approx(0.5)
    assert made.rack.power_w == pytest.approx((100.0 + SPARE_W) * (1 + LOSS) + 0.5 * OTHER_W)
    made.feeds[0].released(25.0, given=False)
    made.feeds[1].released(30.0, given=True)
    made.tree.close(40.0)
    assert made.rack.released == [(0, 4, 5.0, 25.0), (0, 4, 30.0, 40.0)]


def test_marks_may_overlap() -> None:
    made = Rack()
    made.rack.mark(2.0, BRAKED_S, on=True)
    made.rack.mark(4.0, BRAKED_S, on=True)
    made.rack.mark(8.0, BRAKED_S, on=False)
    made.rack.mark(13.0, BRAKED_S, on=False)
    made.rack.mark(38.0, BRAKED_S, on=True)
    made.tree.close(40.0)
    assert made.sums(made.rack, BRAKED_S) == pytest.approx([8.0, 3.0, 0.0, 2.0])
