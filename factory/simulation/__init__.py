"""Assembly of one run: a scenario becomes a SimPy environment, runs, and leaves a run directory."""

from factory.simulation.preflight import preflight
from factory.simulation.run import Progress, RunResult, simulate

__all__ = ["Progress", "RunResult", "preflight", "simulate"]
