"""Fits named efficiency parameters to measured step times, and says how far it got."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.errors import InputError
from factory.scenario import catalog
from factory.validation.efficiency import Parameter, moved, parameters
from factory.validation.errors import Pair, Statistics, statistics
from factory.validation.steps import Machine, StepCase, step_model, step_ms

HELD_OUT_EVERY = 5
"""Each fifth row, the fifth first, is held out of the fit: no draw decides which."""

FEWEST_TO_HOLD_OUT = 10
PRIOR = 1.0
"""Standard deviation of a factor's logarithm beside a fit of 10 % in one row: what the rows do not
tell stays where the catalogue has it."""

ROW_ERROR = 0.1
LEAST_EFFECT = 0.01
"""A parameter that moves no row by a hundredth of its own change is left out."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a fit found.

    Attributes:
        source: File or files it is fitted to.
        engine: Engine profile that the rows ran under.
        values: Fitted value of each parameter that the rows tell something about.
        rows: Rows fitted.
        held_out: Rows held out.
        before, after: Errors of the fitted rows.
        before_held_out, after_held_out: Errors of the others; None where there are none.
        untold: Paths of parameters that the rows say nothing about.
    """

    source: str
    engine: str
    values: Mapping[Parameter, float]
    rows: int
    held_out: int
    before: Statistics
    after: Statistics
    before_held_out: Statistics | None
    after_held_out: Statistics | None
    untold: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured step.

    Attributes:
        case: What was measured.
        ms: How long it took, milliseconds.
    """

    case: StepCase
    ms: float


def calibrate(
    measured: Sequence[Measured], names: Sequence[str], engine: str, source: str
) -> Calibration:
    """Fits fields of the catalogue, each as a factor on its value, to measured steps.

    Minimises the sum over rows of a soft L1 loss of ``ln(predicted / measured) / 0.1``, and with it
    ``(ln factor)^2`` of each parameter (`PRIOR`), by trust-region least squares.

    Args:
        measured: Measured steps, in the order of the file.
        names: Fields to fit, from `efficiency.checked`.
        engine: Engine profile that they ran under.
        source: What they come from, for the provenance.

    Raises:
        InputError: There is nothing to fit, or nothing to fit it to.
    """
    from scipy.optimize import least_squares

    if not measured:
        raise InputError(f"{source}: holds no step time that could be fitted to")
    fitted, others = split(measured)
    machines = sorted({one.case.machine for one in measured}, key=repr)
    generations = sorted({_generation(machine) for machine in machines})
    candidates = parameters(generations, engine, names)
    told, untold = _told(fitted, candidates, engine)
    if not told:
        raise InputError(f"{source}: its rows say nothing about {', '.join(names)}")
    logs = np.log([one.ms for one in fitted])

    def residuals(factors: NDArray[np.float64]) -> NDArray[np.float64]:
        predicted = _predicted(fitted, _values(told, factors), engine)
        # Soft L1 bends every residual; the prior's are small and stay all but quadratic.
        return np.concatenate([(np.log(predicted) - logs) / ROW_ERROR, factors / PRIOR])

    high = np.array([max(math.log(one.most / one.start), 1e-9) for one in told])
    high = np.minimum(high, math.log(20.0))
    low = np.full(len(told), -math.log(20.0))
    found = least_squares(
        residuals, np.zeros(len(told)), bounds=(low, high), loss="soft_l1", max_nfev=40
    )
    values = _values(told, found.x)
    return Calibration(
        source,
        engine,
        values,
        len(fitted),
        len(others),
        _errors(fitted, {}, engine),
        _errors(fitted, values, engine),
        _errors(others, {}, engine) if others else None,
        _errors(others, values, engine) if others else None,
        tuple(one.path for one in untold),
    )


def split(measured: Sequence[Measured]) -> tuple[list[Measured], list[Measured]]:
    """Rows to fit and rows held out; none are where there are too few."""
    if len(measured) < FEWEST_TO_HOLD_OUT:
        return list(measured), []
    every = HELD_OUT_EVERY
    kept = [one for place, one in enumerate(measured) if (place + 1) % every]
    return kept, list(measured[every - 1 :: every])


def _generation(machine: Machine) -> str:
    book = catalog()
    return book.gpus[book.systems[machine.system].gpu].generation


def _values(told: Sequence[Parameter], factors: NDArray[np.float64]) -> dict[Parameter, float]:
    return {
        one: one.start * math.exp(factor)
        for one, factor in zip(told, factors.tolist(), strict=True)
    }


def _predicted(
    measured: Sequence[Measured], values: Mapping[Parameter, float], engine: str
) -> NDArray[np.float64]:
    """Milliseconds of each row."""
    models = {}
    for machine in dict.fromkeys(one.case.machine for one in measured):
        models[machine] = step_model(machine, moved(_generation(machine), engine, values))
    return np.array([step_ms(models[one.case.machine], one.case) for one in measured])


def _told(
    measured: Sequence[Measured], candidates: Sequence[Parameter], engine: str
) -> tuple[list[Parameter], list[Parameter]]:
    """Parameters that move some row, and those that move none."""
    step = 0.02
    base = np.log(_predicted(measured, {}, engine))
    told: list[Parameter] = []
    untold: list[Parameter] = []
    for one in candidates:
        less = {one: one.start * math.exp(-step)}
        effect = np.abs(np.log(_predicted(measured, less, engine)) - base).max() / step
        (told if effect > LEAST_EFFECT else untold).append(one)
    return told, untold


def _errors(
    measured: Sequence[Measured], values: Mapping[Parameter, float], engine: str
) -> Statistics:
    predicted = _predicted(measured, values, engine).tolist()
    return statistics(
        [Pair((), one.ms, value) for one, value in zip(measured, predicted, strict=True)]
    )


def overlay(found: Calibration, today: dt.date) -> str:
    """A calibration as a catalogue overlay, YAML."""
    told = f"{found.source}: {found.rows} rows fitted, {found.held_out} held out"
    lines = [
        "# Written by `factory calibrate steps`; numbers that differ from the shipped catalogue.",
        "sources:",
        f"  calibrated: {{kind: fitted, source: {_quoted(told)}, date: {today.isoformat()}}}",
        "",
    ]
    for section in ("kernels", "products", "engines"):
        records: dict[str, list[str]] = {}
        for one, value in found.values.items():
            if one.section == section:
                text = f"    {one.field}: {{value: {value:.6g}, from: calibrated}}"
                records.setdefault(one.key, []).append(f"{text} # was {one.start:.6g}")
        if records:
            lines.append(f"{section}:")
            for key, fields in records.items():
                lines += [f"  {key}:", *fields]
            lines.append("")
    lines.append("# |predicted / measured - 1|, as ratios; bias has its sign")
    lines.append("errors:")
    for name, errors in (
        ("fitted_before", found.before),
        ("fitted_after", found.after),
        ("held_out_before", found.before_held_out),
        ("held_out_after", found.after_held_out),
    ):
        if errors is not None:
            ratios = ("median", "mean", "bias", "p90")
            text = ", ".join(f"{ratio}: {getattr(errors, ratio):.4f}" for ratio in ratios)
            lines.append(f"  {name}: {{n: {errors.n}, {text}}}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
