"""The law over pools that scale: their events against their GPU-seconds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product

from factory.records.codes import LEDGER_STATES, STATE_SPARE
from factory.records.reader import Columns, RunReader
from factory.validation.results import LawResult, departure, within

_Key = tuple[str | None, float]
"""A pool, and the cell that it is in."""

_SPARE = f"gpu_s_{LEDGER_STATES[STATE_SPARE]}"


@dataclass(slots=True)
class _Pool:
    """Replicas of a pool as its events tell them.

    Attributes:
        wanted: Replicas it is to have.
        held: Replicas that hold GPUs: those, and those that still drain.
        starting: Of them, not ready yet.
        held_s: Seconds of replicas that held GPUs, until `at_s`.
        at_s: The last event.
    """

    wanted: int
    held: int
    starting: int = 0
    held_s: float = 0.0
    at_s: float = 0.0

    def until(self, now_s: float) -> None:
        self.held_s += self.held * (now_s - self.at_s)
        self.at_s = now_s

    def event(self, kind: str, value: float) -> None:
        """Takes an event into account; a start that is called off ends at once."""
        if kind == "replica_ready":
            self.starting -= 1
        elif kind == "replica_drained":
            self.held -= 1
        else:
            more = int(value) - self.wanted
            self.wanted += more
            change = max(more, -self.starting)
            self.starting += change
            self.held += change


def replicas_that_hold_gpus(reader: RunReader, pools: Columns, end_s: float) -> LawResult:
    """Provisioned less spare GPU-seconds are those of the replicas that `fact_events` tells of.

    So GPUs are given back, or spare, exactly while no replica holds them.

    Args:
        reader: Tables of the run.
        pools: `pool`, `cell`, `gpu_s_provisioned` and the ledger of `fact_intervals`.
        end_s: End of the run, simulated seconds.

    Raises:
        InputError: A table is missing.
    """
    dim = reader.read("dim_pools", ("pool", "role", "replicas", "gpus", "gpus_per_replica"))
    sizes = zip(
        dim.strings("pool"),
        dim.strings("role"),
        dim.number("replicas").astype(int).tolist(),
        dim.number("gpus").tolist(),
        dim.number("gpus_per_replica").tolist(),
        strict=True,
    )
    cells = sorted(set(pools.number("cell").tolist()))
    kinds = [kind for kind in sizes if kind[1] != "unassigned"]
    told = {
        (name, cell): _Pool(replicas, replicas) for name, _, replicas, *_ in kinds for cell in cells
    }
    _replay(reader, told, end_s)
    provisioned, spare = _sums(pools, "gpu_s_provisioned"), _sums(pools, _SPARE)
    worst, offender, back = 0.0, "", 0.0
    for (name, _, _, gpus, size), cell in product(kinds, cells):
        pool = name, cell
        held_gpu_s = told[pool].held_s * size
        holding = provisioned[pool] - spare[pool]
        off = departure(holding, held_gpu_s)
        back += gpus * end_s - provisioned[pool]
        if off > worst:
            worst = off
            offender = f"; pool {name} of cell {cell:g}: {holding:.9g} GPU s, by events "
            offender += f"{held_gpu_s:.9g}"
    detail = f"{back:.9g} GPU s given back, {sum(spare.values()):.9g} spare{offender}"
    return within("gpus_given_back", worst, 1e-9, detail)


def _replay(reader: RunReader, told: dict[_Key, _Pool], end_s: float) -> None:
    """Brings every pool to the end of the run by its events."""
    events = reader.read("fact_events", ("event_time_s", "cell", "kind", "subject", "value"))
    dim = reader.read("dim_replicas", ("replica", "pool"))
    homes = dict(zip(dim.strings("replica"), dim.strings("pool"), strict=True))
    rows = zip(
        events.number("event_time_s").tolist(),
        events.number("cell").tolist(),
        events.strings("kind"),
        events.strings("subject"),
        events.number("value").tolist(),
        strict=True,
    )
    for at_s, cell, kind, subject, value in rows:
        if kind is not None and kind.startswith(("scale_", "replica_")):
            name = homes.get(subject) if kind.startswith("replica_") else subject
            pool = told.get((name, cell))
            if pool is not None:
                pool.until(at_s)
                pool.event(kind, value)
    for pool in told.values():
        pool.until(end_s)


def _sums(pools: Columns, column: str) -> dict[_Key, float]:
    """Sums over windows by pool and cell."""
    sums: dict[_Key, float] = defaultdict(float)
    for name, cell, value in zip(
        pools.strings("pool"),
        pools.number("cell").tolist(),
        pools.number(column).tolist(),
        strict=True,
    ):
        sums[name, cell] += value
    return sums
