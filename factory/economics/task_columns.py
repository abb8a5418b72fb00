"""Sums over the tasks shown, by tenant and deployment, made as columns are read one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from factory.records.columns import Text

#: Additive columns of tasks that figures are made of; `gpu_s_input` is computed and cached.
ADDITIVE = (
    "requests",
    "input_computed_tokens",
    "input_cached_tokens",
    "output_tokens",
    "gpu_s_input",
    "gpu_s_input_at_decode",
    "gpu_s_output",
)


class Shown:
    """Tasks that start in the measured interval.

    Sums are by tenant and deployment, of which there are few, so that no column of all tasks has to
    be kept but their spans.

    Args:
        tenant: Code of the tenant, shape (tasks,).
        deployment: Code of the deployment, into `deployments`, shape (tasks,).
        deployments: Names.
        completed: Which completed, shape (tasks,).
        good: Which were good, shape (tasks,).
        column: Reads a column by name: `weight`, those in `ADDITIVE`, and spans; shape (tasks,).
    """

    def __init__(
        self,
        tenant: NDArray[np.int64],
        deployment: NDArray[np.int64],
        deployments: Sequence[str],
        completed: NDArray[np.bool_],
        good: NDArray[np.bool_],
        column: Callable[[str], NDArray[np.float64]],
    ) -> None:
        self.deployments = deployments
        self._width = len(deployments)
        self._cell = tenant * self._width + deployment
        self._done = completed
        self._tenant_done = tenant[completed]
        weight = column("weight")
        self._sums = {
            "tasks": self._sum(np.ones(tenant.size)),
            "weight": self._sum(weight),
            "completed": self._sum(weight * completed),
            "good": self._sum(weight * good),
            **{name: self._sum(weight * column(name)) for name in ADDITIVE},
        }
        self._column = column
        self._spans: dict[str, NDArray[np.float64]] = {}

    def _sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums of shape (tenants seen, deployments)."""
        sums = np.bincount(self._cell, values).astype(np.float64)
        missing = -len(sums) % max(self._width, 1)
        return np.concatenate([sums, np.zeros(missing)]).reshape(-1, max(self._width, 1))

    def total(self, name: str, of: NDArray[np.bool_], deployment: int | None = None) -> float:
        """The sum of a column over the tasks of some tenants, in one deployment or in all.

        Args:
            name: `weight`, `completed`, `good`, or one of `ADDITIVE`.
            of: Which tenants, shape (tenants,).
            deployment: Its code; None for all.
        """
        sums = self._sums[name]
        mine = sums[of[: len(sums)]]
        return float(mine.sum() if deployment is None else mine[:, deployment].sum())

    def has(self, of: NDArray[np.bool_], deployment: int) -> bool:
        """Whether some tenants have a task in a deployment."""
        return self.total("tasks", of, deployment) > 0

    def span(self, name: str, of: NDArray[np.bool_]) -> NDArray[np.float64]:
        """A span of the completed tasks of some tenants, seconds."""
        if name not in self._spans:
            self._spans[name] = self._column(name)[self._done]
        return self._spans[name][of[self._tenant_done]]


def names_of(text: Text, known: Sequence[str] | None = None) -> tuple[NDArray[np.int64], list[str]]:
    """Codes into a list of names.

    Args:
        text: A column without nulls.
        known: The names; by default those of the column.
    """
    names = [str(value) for value in text.values] if known is None else list(known)
    place = {name: code for code, name in enumerate(names)}
    to_code = np.array([place[str(value)] for value in text.values] or [0], np.int64)
    return to_code[text.codes], names
