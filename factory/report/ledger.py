"""The ledger's states as people see them: few groups, plain names, colours and glyphs.

Colours follow Okabe and Ito (2008), "Color Universal Design", told apart under the common forms of
colour blindness; every group also has its own glyph or label: no meaning hangs on colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Group:
    """States of the ledger that are drawn as one.

    Attributes:
        key: identifier, also the CSS class of its colour.
        label: what a legend says.
        meaning: half a line of explanation.
        states: the ledger states in it.
        glyph: fills the terminal's bar.
        ascii: the same where the terminal has no block characters.
        colour: of the terminal's bar, as a rich style.
        works: whether the GPUs make or prepare tokens in it (the busy ratio).
    """

    key: str
    label: str
    meaning: str
    states: tuple[str, ...]
    glyph: str
    ascii: str
    colour: str
    works: bool = False


GROUPS = (
    Group("decode", "decode", "making output tokens", ("decode",), "█", "D", "#0072b2", works=True),
    Group(
        "prefill", "prefill", "reading new prompt tokens", ("prefill_new",), "▓", "P", "#009e73",
        works=True,
    ),
    Group(
        "recompute", "prefill again", "prompt tokens computed before and lost",
        ("prefill_recomputed",), "▒", "R", "#56b4e9", works=True,
    ),
    Group(
        "fetch", "fetch cache", "nothing to run until cached KV comes from a lower tier",
        ("fetch_cached",), "▚", "F", "#cc79a7", works=True,
    ),
    Group(
        "capped", "power cap", "slowed by a power budget, or by a cap of the GPU",
        ("power_capped",), "▆", "C", "#d55e00",
    ),
    Group(
        "paused", "paused", "waiting for power, or switched off for a curtailment",
        ("paused",), "▟", "Z", "#8f2d00",
    ),
    Group(
        "stalled", "transfer", "stalled on a KV transfer", ("stalled_transfer",), "▅", "T",
        "#e69f00",
    ),
    Group(
        "peers", "peers", "waiting for slower ranks in lock-step", ("waiting_peers",), "▞", "W",
        "#b8a800",
    ),
    Group(
        "blocked", "blocked", "idle while work waits: memory or batch full",
        ("idle_waiting_work",), "▄", "B", "#7b3294",
    ),
    Group("idle", "idle", "nothing to do", ("idle",), "░", ".", "grey62"),
    Group(
        "starting", "starting", "a replica loads its weights and serves nothing yet",
        ("starting",), "▙", "S", "#d8b365",
    ),
    Group(
        "draining", "draining", "a replica that takes no more requests waits for its last ones",
        ("draining",), "▜", "v", "#bf9b7a",
    ),
    Group(
        "out", "out of service", "in repair, tripped or failed",
        ("maintenance", "tripped", "failed"), "▂", "X", "#8c510a",
    ),
    Group(
        "spare", "spare", "switched off by autoscaling, and paid for all the same",
        ("spare",), "▪", "o", "grey54",
    ),
    Group("unused", "unused", "in no pool", ("unassigned",), "·", "_", "grey42"),
)  # fmt: skip


def grouped(by_state: Mapping[str, Number]) -> dict[str, Number]:
    """Sums over the states of each group, in the order of `GROUPS`; only groups that are not zero.

    A state that no group names counts under ``unused``, so that nothing is lost from the total.
    """
    home = {state: group.key for group in GROUPS for state in group.states}
    sums: dict[str, Number] = {}
    for state, value in by_state.items():
        key = home.get(state, "unused")
        sums[key] = sums[key] + value if key in sums else value
    return {group.key: sums[group.key] for group in GROUPS if sums.get(group.key)}


def group(key: str) -> Group:
    """The group of that key.

    Raises:
        KeyError: No such group.
    """
    return next(g for g in GROUPS if g.key == key)


def shared_out(shares: Mapping[str, float], cells: int) -> dict[str, int]:
    """Cells of a bar by largest remainder: they add up to `cells`.

    Args:
        shares: parts of a whole, each >= 0.
        cells: how many cells the whole has.

    Returns:
        Whole cells by key, in the order of `shares`; none for a share below half a cell, unless it
        is the largest.
    """
    total = sum(shares.values())
    if total <= 0 or cells <= 0:
        return {}
    largest = max(shares, key=lambda key: shares[key])
    shown = {k: v for k, v in shares.items() if v / total * cells >= 0.5 or k == largest}
    total = sum(shown.values())
    exact = {key: value / total * cells for key, value in shown.items()}
    given = {key: max(1, int(value)) for key, value in exact.items()}
    while sum(given.values()) > cells:
        most = max(given, key=lambda key: (given[key] > 1, given[key] - exact[key]))
        if given[most] == 1:
            break
        given[most] -= 1
    while sum(given.values()) < cells:
        key = max(exact, key=lambda key: exact[key] - given[key])
        given[key] += 1
    return given
