"""Who asks, when, with which lengths and shared prefixes."""

from __future__ import annotations

from factory.workload.build import build
from factory.workload.protocol import Workload
from factory.workload.request import Request

__all__ = ["Request", "Workload", "build"]
