"""What became of attempts, and what happened beside them, read from a run's tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factory.economics.service import last_attempts, too_long
from factory.records.reader import Columns, RunReader
from factory.report.outcomes import Attempts, Decision, Happening

#: Columns of `fact_requests` that views read.
REQUEST_COLUMNS = (
    "weight",
    "tenant",
    "outcome",
    "attempt",
    "is_truncated",
    "is_measured",
    "gpu_s_input_computed",
    "gpu_s_input_cached",
    "gpu_s_output",
    "queue_s",
    "ttft_s",
    "itl_s",
    "e2e_s",
)

_LOST = ("rejected", "timed_out", "failed")


class AttemptBooks:
    """Counts attempts that arrived in the measured interval, of all tenants or of one.

    Args:
        reader: Tables of the run.
        requests: `REQUEST_COLUMNS` of `fact_requests`.
    """

    def __init__(self, reader: RunReader, requests: Columns) -> None:
        self._weight = requests.number("weight")
        self._measured = requests.flag("is_measured")
        self._retried = requests.number("attempt") > 0
        outcomes = {name: requests.is_equal("outcome", name) for name in _LOST}
        self._too_long = too_long(reader, outcomes["rejected"])
        self._turned_away = outcomes["rejected"] & ~self._too_long
        self._timed_out = outcomes["timed_out"]
        self._failed = outcomes["failed"]
        self._gpu_s = self._weight * sum(
            requests.number(f"gpu_s_{part}")
            for part in ("input_computed", "input_cached", "output")
        )
        self._input = np.zeros(requests.rows)
        if self._too_long.any():
            self._input = reader.read("fact_requests", ("input_tokens",)).number("input_tokens")
        self._ended = np.zeros(requests.rows, np.bool_)
        lost = np.logical_or.reduce(list(outcomes.values())) & self._measured
        if lost.any():
            self._ended = _ends_a_session(reader, requests, lost & last_attempts(reader))

    def of(self, rows: NDArray[np.bool_]) -> Attempts:
        """The counts of some rows.

        Args:
            rows: Which, shape (rows,); those that arrived outside the measured interval are left
                out.
        """
        mine = rows & self._measured
        refused = mine & self._too_long
        gpu_s = float(self._gpu_s[mine].sum())
        return Attempts(
            total=self._count(mine),
            retried=self._count(mine & self._retried),
            too_long=self._count(refused),
            shortest_tokens=int(self._input[refused].min()) if refused.any() else 0,
            turned_away=self._count(mine & self._turned_away),
            timed_out=self._count(mine & self._timed_out),
            failed=self._count(mine & self._failed),
            sessions=self._count(mine & self._ended),
            wasted_ratio=float(self._gpu_s[mine & self._timed_out].sum()) / gpu_s if gpu_s else 0.0,
        )

    def _count(self, rows: NDArray[np.bool_]) -> int:
        return round(float(self._weight[rows].sum()))


def _ends_a_session(
    reader: RunReader, requests: Columns, lost: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The first lost row of each session whose tenant has sessions of several turns."""
    more = reader.read("fact_requests", ("session_id", "turn"))
    tenant = requests.text("tenant").codes
    talks = np.isin(tenant, np.unique(tenant[more.number("turn") > 0]))
    rows = np.flatnonzero(lost & talks)
    _, first = np.unique(more.text("session_id").codes[rows], return_index=True)
    ends = np.zeros(requests.rows, np.bool_)
    ends[rows[first]] = True
    return ends


def events(reader: RunReader) -> tuple[tuple[Happening, ...], tuple[Decision, ...]]:
    """Events of the whole run by kind, in order of the first; and what autoscaling decided.

    Raises:
        InputError: The table is missing.
    """
    rows = reader.read("fact_events", ("event_time_s", "kind", "subject", "value", "detail"))
    times, values = rows.number("event_time_s").tolist(), rows.number("value").tolist()
    kinds, subjects = rows.strings("kind"), rows.strings("subject")
    places: dict[str, list[int]] = {}
    for row, kind in enumerate(kinds):
        places.setdefault(str(kind), []).append(row)
    happenings = tuple(
        Happening(
            kind,
            len(found),
            tuple(dict.fromkeys(str(subjects[row]) for row in found)),
            times[found[0]],
            times[found[-1]],
        )
        for kind, found in places.items()
    )
    details = rows.strings("detail")
    scaled = sorted([*places.get("scale_up", ()), *places.get("scale_down", ())])
    decisions = tuple(
        Decision(times[row], str(subjects[row]), values[row], details[row] or "") for row in scaled
    )
    return happenings, decisions
