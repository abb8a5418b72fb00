"""Fits the coefficients of the power law at full clock, by GPU, and holds models out.

python -m experiments.power_fit.fit_power POWER_POINTS.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from experiments.power_fit.points import ENERGY, Machines, Point, read_points, say, told

MOST_RATIO = 2.05
"""Of idle and all coefficients together over TDP: what nothing reaches keeps a plausible size."""


PRIOR = (0.3, 0.8, 0.3)
PRIOR_WEIGHT = 0.3
"""Coefficients over TDP that a weak prior holds: A100's servers all wait for their host, so what a
busy A100 draws whatever it computes is hardly told from what its memory draws."""


class Features:
    """What the points of one GPU do, as arrays over (point, kind of step)."""

    def __init__(self, points: Sequence[Point]) -> None:
        machines = Machines()
        states = [machines.state(point) for point in points]
        gpu = machines.machine(points[0]).gpu
        self.idle_w, self.tdp_w = gpu.idle_loaded_w, gpu.tdp_w
        self.watts = np.array([point.measured["watts"] for point in points])
        self.speed = np.array([state.tokens_per_s_per_gpu for state in states])
        self.energy = np.array([point.measured.get(ENERGY, np.nan) for point in points])
        self.models = np.array([point.model for point in points])
        self.datasets = np.array([point.case.dataset for point in points])
        models = [machines.machine(point).model for point in points]
        values = [
            (
                one.seconds * one.share,
                1.0 - one.waiting_s / one.seconds,
                min(one.flops / one.seconds / model.peak_flops, 1.0),
                min(one.hbm_bytes / one.seconds / model.peak_hbm, 1.0) ** 0.5,
            )
            for model, state in zip(models, states, strict=True)
            for one in state.phases
        ]
        table = np.array(values).reshape(len(points), 2, 4)
        self.lasting, self.parts = table[..., 0], table[..., 1:]

    def drawn(self, coefficients: np.ndarray, of: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Watts at coefficients (busy, MFU, memory)."""
        draw = np.minimum(self.idle_w + self.parts[of] @ coefficients, self.tdp_w)
        lasting = self.lasting[of]
        return (draw * lasting).sum(axis=1) / lasting.sum(axis=1)

    def fit(self, of: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Coefficients of some points: least squares of relative errors, softened beyond 10 %."""
        room = MOST_RATIO * self.tdp_w - self.idle_w

        def errors(x: np.ndarray) -> np.ndarray:
            over = max(x.sum() / room - 1.0, 0.0) * 100.0
            prior = PRIOR_WEIGHT * (x / start - 1.0)
            return np.concatenate([self.drawn(x, of) / self.watts[of] - 1.0, prior, [over]])

        start = np.array(PRIOR) * self.tdp_w
        return least_squares(
            errors, start, bounds=(0.0, np.inf), loss="soft_l1", f_scale=0.1, x_scale=self.tdp_w
        ).x

    def held_out(self) -> np.ndarray:
        """Watts of each model's points at coefficients fitted without them."""
        drawn = np.empty_like(self.watts)
        for model in np.unique(self.models):
            out = self.models == model
            drawn[out] = self.drawn(self.fit(~out), out)
        return drawn


def main() -> None:
    """Fits and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    points = [p for p in read_points(parser.parse_args().file) if "watts" in p.measured]
    everything: dict[str, list[float]] = {"fitted": [], "held out by model": []}
    energies: dict[str, list[float]] = {"fitted": [], "held out by model": []}
    for gpu in sorted({point.gpu for point in points}):
        features = Features([point for point in points if point.gpu == gpu])
        best = features.fit()
        busy, mfu, memory = best
        say(f"\n{gpu}: power_busy_w {busy:.0f}, power_mfu_w {mfu:.0f}, power_mem_w {memory:.0f}")
        for name, drawn in (
            ("fitted", features.drawn(best)),
            ("held out by model", features.held_out()),
        ):
            errors = drawn / features.watts - 1.0
            say(told(f"  watts, {name}", errors))
            everything[name] += list(errors)
            per_token = drawn / features.speed / features.energy - 1.0
            energies[name] += list(per_token[np.isfinite(per_token)])
            if name != "fitted":
                for dataset in np.unique(features.datasets):
                    say(told(f"    {dataset}", errors[features.datasets == dataset]))
    say()
    for name, errors in everything.items():
        say(told(f"all GPUs, watts, {name}", errors))
        say(told(f"all GPUs, J per token, {name}", energies[name]))


if __name__ == "__main__":
    main()
