"""Token factory: a discrete-event simulator of AI data centres.

The public names below are imported when first used, so that ``import factory`` costs nothing.

    >>> import factory
    >>> scenario = factory.load("quickstart")  # doctest: +SKIP
    >>> result = factory.simulate(scenario)  # doctest: +SKIP
    >>> result.summary["cost"]["cost_usd_per_mtok_output_good"]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.economics import summarize
    from factory.errors import FactoryError, InputError, RunError, ScenarioError
    from factory.scenario import Scenario, catalog, load
    from factory.simulation import RunResult, simulate
    from factory.validation.laws import check_run

    __version__: str

__all__ = [
    "FactoryError",
    "InputError",
    "RunError",
    "RunResult",
    "Scenario",
    "ScenarioError",
    "__version__",
    "catalog",
    "check_run",
    "load",
    "simulate",
    "summarize",
]

_HOME = {
    "FactoryError": "factory.errors",
    "InputError": "factory.errors",
    "RunError": "factory.errors",
    "RunResult": "factory.simulation",
    "Scenario": "factory.scenario",
    "ScenarioError": "factory.errors",
    "catalog": "factory.scenario",
    "check_run": "factory.validation.laws",
    "load": "factory.scenario",
    "simulate": "factory.simulation",
    "summarize": "factory.economics",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for.

    Raises:
        AttributeError: The package has no such public name.
    """
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        value: object = version("token-factory-sim")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted(__all__)
