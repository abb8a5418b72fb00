"""Max-min fair sharing of links: nobody can get more but from one who has no more than he.

Progressive filling (Bertsekas and Gallager, Data Networks, 1992, section 6.5.2): all rates grow
together; a transfer stops at its own bound or where one of its links is full. What it leaves at its
other links goes to those still growing, where plain shares of each link would waste it.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace
from operator import attrgetter

from factory.serving.links import Flow, Link

_BOUND = attrgetter("bound")

_NONE = 1e-9
"""A sum of uses below this is rounding: each is far above."""


def share(seeds: Iterable[Link], mark: int) -> list[Flow]:
    """Works out the max-min fair rates of all that a change on some links can reach.

    Only tight links couple: on any other every transfer has all it could use.

    Args:
        seeds: The links; their transfers are reached whether they are tight or not.
        mark: A number that no other call had.

    Returns:
        The transfers reached. Each has its rate in ``share``, bytes/s, and in ``shares_tight``
        whether one of its links is tight.
    """
    flows, tight = _component(seeds, mark)
    if len(tight) == 1:
        # Most often a single link, and the same for all on it.
        link = tight[0]
        rate = link.room / link.weight
        if all(flow.bound >= rate for flow in link.flows.values()):
            for flow in flows:
                flow.share = rate if flow.shares_tight else flow.bound
            return flows
    if tight:
        _fill(flows, tight)
    for flow in flows:
        if flow.share < 0.0:
            flow.share = flow.bound
    return flows


def _component(seeds: Iterable[Link], mark: int) -> tuple[list[Flow], list[Link]]:
    """The transfers that can be reached, and the tight links among them, nothing of them taken."""
    flows: list[Flow] = []
    tight: list[Link] = []
    for link in seeds:
        if link.mark != mark:
            if _visit(link, mark):
                tight.append(link)
            _reach(link, mark, flows)
    # The list grows while it is gone through.
    for flow in flows:
        flow.share = -1.0
        flow.shares_tight = False
        for link, use in flow.uses:
            if link.mark != mark and _visit(link, mark):
                tight.append(link)
                _reach(link, mark, flows)
            if link.is_tight:
                link.weight += use
                flow.shares_tight = True
    return flows, tight


def _visit(link: Link, mark: int) -> bool:
    """Makes a link ready to be filled; says whether it is tight."""
    link.mark = mark
    link.room = link.bytes_per_s
    link.weight = 0.0
    link.is_tight = tight = link.may_bind()
    return tight


def _reach(link: Link, mark: int, flows: list[Flow]) -> None:
    for flow in link.flows.values():
        if flow.mark != mark:
            flow.mark = mark
            flows.append(flow)


def _fill(flows: list[Flow], tight: list[Link]) -> None:
    """Progressive filling: settles all that share a tight link."""
    rising = sorted((flow for flow in flows if flow.shares_tight), key=_BOUND)
    place, count = 0, len(rising)
    # A link's fair share only rises as others settle, so an entry is at most too low.
    filling = [(link.room / link.weight, order, link) for order, link in enumerate(tight)]
    heapify(filling)
    level = 0.0
    while filling:
        least, order, link = filling[0]
        if link.weight <= _NONE:
            heappop(filling)
            continue
        rate = link.room / link.weight
        if rate > least:
            heapreplace(filling, (rate, order, link))
            continue
        # Rounding must not take a rate below those settled before.
        level = least if least > level else level
        before = place
        # A bound below every fair share takes from nobody.
        while place < count and rising[place].bound <= level:
            flow = rising[place]
            place += 1
            if flow.share < 0.0:
                _settle(flow, flow.bound)
        if place == before:
            heappop(filling)
            for flow in link.flows.values():
                if flow.share < 0.0:
                    _settle(flow, level)


def _settle(flow: Flow, rate: float) -> None:
    flow.share = rate
    for link, use in flow.uses:
        if link.is_tight:
            link.room -= rate * use
            link.weight -= use
