"""Checks of how sessions start."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.tenant_load import Load


def load_problems(path: str, load: Load) -> Iterator[Problem]:
    """What is wrong with a load whose section stands at `path`."""
    if (load.rate is None) == (load.concurrency is None):
        message = "must give exactly one of rate and concurrency"
        yield Problem(path, message, "neither" if load.rate is None else "both")
    given = load.model_fields_set
    if load.rate is None and load.concurrency is not None and load.arrival != "poisson":
        message = "goes with rate; a closed loop has no arrival process"
        yield Problem(f"{path}.arrival", message)
    if "cv" in given and load.arrival != "gamma" and load.cv != 1.0:
        yield Problem(f"{path}.cv", "is for arrival: gamma only", load.cv)
