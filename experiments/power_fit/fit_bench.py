"""Fits what the benches' engines add to step times, to throughput and median ITL.

    python -m experiments.power_fit.fit_bench POWER_POINTS.csv [--folds 4]

The step model stays as it is: only `factory.validation.power_bench` holds these numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from experiments.power_fit.points import ENERGY, THROUGHPUT, Machines, Point, read_points, say, told
from factory.validation import power_bench
from factory.validation.power_bench import Bench, Lengths

NEWER = {
    "step_ms": 2.0,
    "sequence_us": 20.0,
    "layer_us": 1.0,
    "kernel_time": 0.9,
    "prefill_attention_time": 0.9,
    "expert_time": 1.6,
    "expert_fp8_us": 60.0,
    "mxfp4_expert_time": 0.7,
}
OLDER = {"step_ms": 5.0, "worker_ms": 8.0, "sequence_us": 400.0}
PRIOR_WEIGHT = 0.3
ITL_WEIGHT = 0.7


class Fit:
    """One engine on one GPU generation.

    Args:
        points: What was measured.
        start: Free fields of `Bench` and where they begin; also where a weak prior holds them.
        more: Further free numbers: prompts of data sets, and ``contended``.
    """

    def __init__(
        self, points: Sequence[Point], start: dict[str, float], more: dict[str, float]
    ) -> None:
        self.points = list(points)
        self.names, self.more = list(start), list(more)
        self.start = np.array([*start.values(), *more.values()])

    def errors(self, x: np.ndarray, points: Sequence[Point]) -> list[tuple[str, float]]:
        """Logarithms of predicted over measured, by metric."""
        bench = replace(Bench(0.0, 0.0), **dict(zip(self.names, map(float, x), strict=False)))
        extra = dict(zip(self.more, x[len(self.names) :], strict=True))
        more_ms = float(extra.get("contended", power_bench.CONTENDED_STEP_MS))
        machines = Machines(bench)
        slow = Machines(replace(bench, step_ms=bench.step_ms + more_ms))
        found = []
        for point in points:
            case = point.case
            assert case.server is not None
            assert case.lengths is not None
            lengths = case.lengths
            if case.dataset in extra:
                lengths = Lengths(round(float(extra[case.dataset])), lengths.answer)
            if case.server.contended:
                free = replace(case.server, contended=False)
                state = slow.state(replace(point, case=replace(case, server=free)), lengths)
            else:
                state = machines.state(point, lengths)
            if speed := point.measured.get(THROUGHPUT):
                found.append((THROUGHPUT, float(np.log(state.tokens_per_s_per_gpu / speed))))
            if itl := point.measured.get("itl_median"):
                found.append(("itl_median", float(np.log(state.itl_ms / itl))))
        return found

    def best(self, points: Sequence[Point], evaluations: int) -> np.ndarray:
        """The free numbers that fit some points best."""

        def residuals(x: np.ndarray) -> np.ndarray:
            weight = {THROUGHPUT: 1.0, "itl_median": ITL_WEIGHT}
            own = [weight[name] * error for name, error in self.errors(x, points)]
            return np.array([*own, *(PRIOR_WEIGHT * np.log(x / self.start))])

        return least_squares(
            residuals,
            self.start,
            bounds=(self.start * 0.02, self.start * 20.0),
            x_scale=self.start,
            diff_step=0.03,
            loss="soft_l1",
            f_scale=0.1,
            max_nfev=evaluations,
        ).x

    def run(self, name: str, folds: int, evaluations: int) -> None:
        """Fits, holds folds of models out, and prints."""
        found = self.best(self.points, evaluations)
        told_values = ", ".join(
            f"{key} {value:.3g}"
            for key, value in zip([*self.names, *self.more], found, strict=True)
        )
        say(f"\n{name}: {told_values}")
        self._show("fitted", self.errors(found, self.points))
        models = sorted({point.model for point in self.points})
        held: list[tuple[str, float]] = []
        for fold in range(folds):
            out = set(models[fold::folds])
            kept = [point for point in self.points if point.model not in out]
            rest = [point for point in self.points if point.model in out]
            held += self.errors(self.best(kept, evaluations), rest)
        if held:
            self._show(f"held out, {folds} folds of models", held)

    @staticmethod
    def _show(what: str, errors: Sequence[tuple[str, float]]) -> None:
        for metric in (THROUGHPUT, "itl_median"):
            values = [np.expm1(error) for name, error in errors if name == metric]
            if values:
                say(told(f"  {metric}, {what}", values))


def main() -> None:
    """Fits and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--folds", type=int, default=0, help="folds of models to hold out")
    parser.add_argument("--evaluations", type=int, default=12, help="of each fit")
    parser.add_argument("--only", default="", help="vllm-0.5, hopper or blackwell")
    asked = parser.parse_args()
    points = read_points(asked.file)

    def of(era: str, gpu: str = "") -> list[Point]:
        return [
            point
            for point in points
            if point.case.server is not None
            and point.case.server.era == era
            and point.gpu.startswith(gpu)
            and (THROUGHPUT in point.measured or ENERGY in point.measured)
        ]

    fits = {
        "vllm-0.5": (of("vllm-0.5"), OLDER, {}),
        "hopper": (
            of("vllm-0.11", "H"),
            NEWER,
            {"lm-arena-chat": 500.0, "sourcegraph-fim": 500.0},
        ),
        "blackwell": (of("vllm-0.11", "B"), NEWER, {"contended": 20.0}),
    }
    for name, (own, start, more) in fits.items():
        if asked.only in ("", name):
            Fit(own, start, more).run(name, asked.folds, asked.evaluations)


if __name__ == "__main__":
    main()
