"""When sessions start: renewal processes, bursts, local times, and their rate over time."""

from __future__ import annotations

from factory.workload.arrivals.operational import CHUNK
from factory.workload.arrivals.processes import (
    Arrivals,
    Daily,
    Renewal,
    before,
    build,
    client_starts,
    session_rate,
)

__all__ = [
    "CHUNK",
    "Arrivals",
    "Daily",
    "Renewal",
    "before",
    "build",
    "client_starts",
    "session_rate",
]
