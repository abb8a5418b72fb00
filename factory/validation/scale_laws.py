"""The law over pools that scale: their events against their GPU-seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from factory.records.codes import LEDGER_STATES, STATE_SPARE
from factory.records.reader import Columns, RunReader
from factory.validation.results import LawResult, departure, within

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
        pools: `pool`, `gpu_s_provisioned` and the ledger of `fact_intervals`.
        end_s: End of the run, simulated seconds.

    Raises:
        InputError: A table is missing.
    """
    dim = reader.read("dim_pools", ("pool", "role", "replicas", "gpus", "gpus_per_replica"))
    starts = [int(number) for number in dim.number("replicas").tolist()]
    names = dim.strings("pool")
    told = dict(zip(names, (_Pool(start, start) for start in starts), strict=True))
    _replay(reader, told, end_s)
    provisioned, spare = _sums(pools, "gpu_s_provisioned", names), _sums(pools, _SPARE, names)
    worst, offender, back = 0.0, "", 0.0
    rows = zip(
        names,
        dim.strings("role"),
        dim.number("gpus_per_replica").tolist(),
        dim.number("gpus").tolist(),
        strict=True,
    )
    for name, role, size, gpus in rows:
        if role == "unassigned":
            continue
        held_gpu_s = told[name].held_s * size
        off = departure(provisioned[name] - spare[name], held_gpu_s)
        back += gpus * end_s - provisioned[name]
        if off > worst:
            worst = off
            offender = f"; pool {name}: {provisioned[name] - spare[name]:.9g} GPU s, by events "
            offender += f"{held_gpu_s:.9g}"
    detail = f"{back:.9g} GPU s given back, {sum(spare.values()):.9g} spare{offender}"
    return within("gpus_given_back", worst, 1e-9, detail)


def _replay(reader: RunReader, told: dict[str | None, _Pool], end_s: float) -> None:
    """Brings every pool to the end of the run by its events."""
    events = reader.read("fact_events", ("event_time_s", "kind", "subject", "value"))
    dim = reader.read("dim_replicas", ("replica", "pool"))
    homes = dict(zip(dim.strings("replica"), dim.strings("pool"), strict=True))
    rows = zip(
        events.number("event_time_s").tolist(),
        events.strings("kind"),
        events.strings("subject"),
        events.number("value").tolist(),
        strict=True,
    )
    for at_s, kind, subject, value in rows:
        if kind is not None and kind.startswith(("scale_", "replica_")):
            pool = told.get(homes.get(subject) if kind.startswith("replica_") else subject)
            if pool is not None:
                pool.until(at_s)
                pool.event(kind, value)
    for pool in told.values():
        pool.until(end_s)


def _sums(pools: Columns, column: str, names: Sequence[str | None]) -> dict[str | None, float]:
    values = pools.number(column)
    return {name: float(values[pools.is_equal("pool", name or "")].sum()) for name in names}
