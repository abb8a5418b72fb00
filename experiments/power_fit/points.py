"""The measured servers that the power law and its benches are fitted to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from factory.validation import rows
from factory.validation.power import ENERGY, SCORED, THROUGHPUT, WATTS
from factory.validation.power_bench import Bench, Lengths
from factory.validation.power_rows import PowerCase, case_of
from factory.validation.power_state import Machine, SteadyState
from factory.validation.rows import NotPredictableError


@dataclass(frozen=True, slots=True)
class Point:
    """One measured server at one batch.

    Attributes:
        case: What ran.
        model: As the file names it: what is held out together.
        gpu: As the file names it.
        measured: By metric; the two kinds of watts under ``watts``.
    """

    case: PowerCase
    model: str
    gpu: str
    measured: dict[str, float]


def read_points(file: Path) -> list[Point]:
    """Points of ML.ENERGY's serving, by configuration."""
    found: dict[tuple[object, ...], Point] = {}
    for row in rows.read(file).rows:
        if not row.text("source").startswith(SCORED):
            continue
        try:
            case = case_of(row)
        except NotPredictableError as error:
            say(f"left out: {error}")
            continue
        key = (row.text("gpu"), row.text("model"), case.server, case.batch, case.dataset)
        point = found.setdefault(key, Point(case, row.text("model"), row.text("gpu"), {}))
        metric = "watts" if row.text("metric") in WATTS else row.text("metric")
        point.measured[metric] = row.positive("value")
    return list(found.values())


class Machines:
    """Step models by server, for one choice of bench."""

    def __init__(self, bench: Bench | None = None) -> None:
        self._bench = bench
        self._known: dict[object, Machine] = {}

    def state(self, point: Point, lengths: Lengths | None = None) -> SteadyState:
        """The steady state of a point."""
        server = point.case.server
        assert server is not None
        machine = self._known.get(server)
        if machine is None:
            machine = self._known[server] = Machine(server, bench=self._bench)
        given = lengths or point.case.lengths
        assert given is not None
        return machine.steady(point.case.batch, given)

    def machine(self, point: Point) -> Machine:
        """The machine of a point, once its state was asked for."""
        return self._known[point.case.server]


def say(line: str = "") -> None:
    """Writes a line to standard output at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def told(name: str, errors: Sequence[float]) -> str:
    """A line about relative errors."""
    signed = np.asarray(errors)
    size = np.abs(signed)
    return (
        f"{name:<34} n {len(size):>4}  median {np.median(size):6.1%}  "
        f"MAPE {size.mean():6.1%}  bias {signed.mean():+6.1%}"
    )


__all__ = ["ENERGY", "THROUGHPUT", "Machines", "Point", "read_points", "say", "told"]
