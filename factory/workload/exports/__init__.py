"""Demand written in the formats of others, so that a workload can be fired at a real cluster."""

from __future__ import annotations

from factory.workload.exports.rows import Losses
from factory.workload.exports.targets import (
    TARGETS,
    Options,
    Target,
    lines,
    target_block_size,
)

__all__ = ["TARGETS", "Losses", "Options", "Target", "lines", "target_block_size"]
