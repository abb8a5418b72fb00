"""Laws over sessions and tasks: what they add up to is what their requests add up to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factory.records.reader import Columns, RunReader
from factory.validation.results import LawResult, departure, within

_TOKENS = ("input_tokens", "input_computed_tokens", "input_cached_tokens", "output_tokens")
_GPU_S = ("gpu_s_input_computed", "gpu_s_input_cached", "gpu_s_output")
_COUNTED = ("requests", "requests_good", "attempts")
_SUMMED = (*_COUNTED, *_TOKENS, *_GPU_S, "energy_j")


def task_laws(reader: RunReader) -> list[LawResult]:
    """Σ tasks = Σ sessions = Σ requests of the tenants that have them; spans hold what they cover.

    Args:
        reader: Tables of the run.

    Raises:
        InputError: A table is missing.
    """
    dim = reader.read("dim_tenants", ("tenant", "has_sessions"))
    names = [str(name) for name in dim.strings("tenant")]
    shown = {name for name, has in zip(names, dim.flag("has_sessions"), strict=True) if has}
    if not shown:
        none = "no tenant has sessions of several requests"
        return [
            within("tasks_add_up_to_requests", 0, 1e-9, none),
            within("tasks_within_sessions", 0, 1e-9, none),
        ]
    tasks = reader.read("fact_tasks", ("tenant", "task_s", "waited_s", "tools_s", *_SUMMED))
    sessions = reader.read(
        "fact_sessions", ("tenant", "tasks", "session_s", "think_s", "outcome", *_SUMMED)
    )
    return [_sums(reader, shown, tasks, sessions), _spans(tasks, sessions)]


def _sums(reader: RunReader, shown: set[str], tasks: Columns, sessions: Columns) -> LawResult:
    """Requests, tokens, GPU-seconds and joules, in every table."""
    rows = reader.read(
        "fact_requests",
        ("tenant", "attempt", "is_good", "energy_input_j", "energy_output_j", *_TOKENS, *_GPU_S),
    )
    tenant = rows.text("tenant")
    mine = np.array([*(str(name) in shown for name in tenant.values), False])[tenant.codes]
    energy_j = rows.number("energy_input_j") + rows.number("energy_output_j")
    have = {
        "requests": float((rows.number("attempt")[mine] == 0).sum()),
        "requests_good": float(rows.flag("is_good")[mine].sum()),
        "attempts": float(mine.sum()),
        "energy_j": float(energy_j[mine].sum()),
        **{name: float(rows.number(name)[mine].sum()) for name in (*_TOKENS, *_GPU_S)},
    }
    off: dict[str, float] = {}
    told: dict[str, str] = {}
    for table, found in (("tasks", tasks), ("sessions", sessions)):
        for name, wanted in have.items():
            got = float(found.number(name).sum())
            is_whole = name in _COUNTED or name in _TOKENS
            key = f"{name} of {table}"
            off[key] = float(got != wanted) if is_whole else departure(got, wanted)
            told[key] = f"{key} {got:.12g}, of requests {wanted:.12g}"
    off["tasks of sessions"] = float(tasks.rows != sessions.number("tasks").sum())
    told["tasks of sessions"] = f"{sessions.number('tasks').sum():.0f} tasks of sessions"
    worst = max(off, key=lambda key: off[key])
    detail = f"{tasks.rows} tasks in {sessions.rows} sessions, {have['requests']:.0f} requests"
    if off[worst] > 1e-9:
        detail += f"; {told[worst]}"
    return within("tasks_add_up_to_requests", off[worst], 1e-9, detail)


def _spans(tasks: Columns, sessions: Columns) -> LawResult:
    """Time inside the factory and time of tools make a task; thinking is part of a session."""
    whole = tasks.number("task_s")
    parts = tasks.number("waited_s") + tasks.number("tools_s")
    span = np.maximum(sessions.number("session_s"), 1e-9)
    over = (sessions.number("think_s") - sessions.number("session_s")) / span
    worst = max(_largest(np.abs(parts - whole) / np.maximum(whole, 1.0)), _largest(over))
    detail = f"waited + tools = task of {int(np.isfinite(whole).sum())} completed"
    return within("tasks_within_sessions", max(worst, 0.0), 1e-9, detail)


def _largest(values: NDArray[np.float64]) -> float:
    present = values[~np.isnan(values)]
    return float(present.max(initial=0.0))
