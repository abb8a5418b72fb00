"""Queues made of the real components, and intervals for what they show.

A replica with a stated step time is a server: its steps last one `TICK_S`, a prompt of one token
takes one step and gives the first token, every further token takes one more. So a request's service
time is its output tokens times `TICK_S`, and `max_num_seqs` is the number of servers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from observed import Observed, observe

from factory.statistics.intervals import Interval, student_t

TICK_S = 1e-3
MEAN_TOKENS = 1000
"""Mean service is one second, a thousand steps: a geometric length is then exponential to 1/1000,
and a request that comes in mid-step waits half a step, 1/2000 of a service, before it is served."""

CONFIDENCE = 0.999
WIDEST = 0.05

Data = dict[str, Any]
Floats = NDArray[np.float64]


def geometric(mean: float) -> Data:
    """Tokens with the memoryless distribution."""
    return {"distribution": "geometric", "mean": mean}


def pool(name: str, role: str, replicas: int = 1, *, servers: int, **step_model: float) -> Data:
    """A pool whose replicas have so many servers each; by default a step lasts one tick."""
    times = step_model or {"base_ms": TICK_S * 1e3}
    return {
        "name": name,
        "role": role,
        "racks": "r",
        "replicas": replicas,
        "engine": {
            "max_num_seqs": servers,
            "max_num_batched_tokens": 131072,
            "enable_prefix_caching": False,
            "step_model": {"kind": "fixed", **times},
        },
    }


def queue(
    pools: list[Data],
    rate: float,
    output_tokens: Any,
    *,
    requests: int,
    seed: int,
    input_tokens: Any = 1,
    policy: str = "least_loaded",
) -> Data:
    """A scenario of one Poisson stream to these pools."""
    return {
        "name": "queue",
        "facility": {"racks": [{"name": "r", "system": "hgx-h100"}]},
        "deployments": [
            {
                "name": "d",
                "model": "llama-3.1-8b",
                "router": {"policy": policy},
                "kv_transfer": {"latency_ms": 0, "bandwidth_gb_s": 1e9},
                "pools": pools,
            }
        ],
        "workload": {
            "tenants": [
                {
                    "name": "t",
                    "load": {"rate": rate},
                    "input_tokens": input_tokens,
                    "output_tokens": output_tokens,
                }
            ]
        },
        "run": {"requests": requests, "window_s": 3600, "seed": seed},
    }


class Visits:
    """Pooled visits of requests, cut into batches; the first of each run is warm-up, left out.

    Args:
        runs: Runs of one scenario under different seeds.
        batch: Requests per batch, long against the time in which the queue forgets.

    Attributes:
        runs: The runs.
    """

    def __init__(self, runs: list[Observed], batch: int) -> None:
        self.runs = runs
        self._batch = batch

    def of(self, column: str) -> Floats:
        """A column in order of arrival, shape (batches, requests of a batch)."""
        parts = [np.array(run.column(column), dtype=np.float64) for run in self.runs]
        return np.concatenate([self.cut(part) for part in parts])

    def gaps(self) -> Floats:
        """Time from the arrival before to this one, likewise."""
        parts = [np.diff(run.column("arrival_s"), prepend=0.0) for run in self.runs]
        return np.concatenate([self.cut(part) for part in parts])

    def cut(self, values: Floats) -> Floats:
        """Values of one run, by request, as batches without the first."""
        count = len(values) // self._batch
        return values[: count * self._batch].reshape(count, self._batch)[1:]


def runs(scenario: Data, seeds: range) -> list[Observed]:
    """The scenario under each seed."""
    return [observe({**scenario, "run": {**scenario["run"], "seed": seed}}) for seed in seeds]


def controlled(values: Floats, *controls: tuple[Floats, float], tests: int = 1) -> Interval:
    """Interval for a mean over batches, sharpened by what is known of the same batches.

    Args:
        values: Shape (batches, requests).
        controls: Quantities of the same shape, each with its true mean: batch means of `values` are
            regressed on theirs (Lavenberg and Welch, Management Science 27, 1981).
        tests: Intervals that shall all hold at once.
    """
    y = values.mean(axis=1)
    offsets = [control.mean(axis=1) - mean for control, mean in controls]
    design = np.column_stack([np.ones(len(y)), *offsets])
    solution, *_ = np.linalg.lstsq(design, y, rcond=None)
    rest = y - design @ solution
    degrees = len(y) - design.shape[1]
    variance = float(rest @ rest) / degrees * float(np.linalg.inv(design.T @ design)[0, 0])
    confidence = 1 - (1 - CONFIDENCE) / tests
    half_width = student_t(confidence, degrees) * math.sqrt(variance)
    return Interval(float(solution[0]), half_width, confidence, len(y))


def holds(interval: Interval, theory: float) -> None:
    """Theory lies in the interval, and the interval is narrow enough to say something."""
    assert theory in interval, f"{theory:.6g} is not in {interval}"
    assert interval.half_width <= WIDEST * theory, f"{interval} is wider than 5 % of {theory:.6g}"
