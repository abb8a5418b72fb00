"""How long a step takes, and what it moves and computes: pure functions."""

from __future__ import annotations

from factory.performance.build import build, build_memory, build_reference, layout_of, system_of
from factory.performance.fixed import FixedStepModel
from factory.performance.hardware import efficiency
from factory.performance.layout import Layout
from factory.performance.memory import MemoryPlan, memory_plan
from factory.performance.reference import ReferenceCosts, reference_costs
from factory.performance.roofline import RooflineStepModel
from factory.performance.segment import Segment
from factory.performance.step_model import StepModel
from factory.performance.work import RankWork

__all__ = [
    "FixedStepModel",
    "Layout",
    "MemoryPlan",
    "RankWork",
    "ReferenceCosts",
    "RooflineStepModel",
    "Segment",
    "StepModel",
    "build",
    "build_memory",
    "build_reference",
    "efficiency",
    "layout_of",
    "memory_plan",
    "reference_costs",
    "system_of",
]
