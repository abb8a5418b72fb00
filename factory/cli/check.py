"""``factory check``: is this scenario, or this finished run, sound?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factory.errors import Problem
    from factory.scenario import Scenario


def check_scenario(
    source: str, *, overrides: Sequence[str], overlays: Sequence[Path], as_json: bool
) -> None:
    """Say that a scenario is sound, or everything that is wrong with it.

    Args:
        source: Path of a scenario, or the name of a shipped one.
        overrides: ``path=value`` settings.
        overlays: Files of catalogue changes, over the scenario's own.
        as_json: Print one JSON object and nothing else.

    Raises:
        FactoryError: The scenario cannot be used; carries all problems at once.
        SystemExit: With 2, problems printed as JSON.
    """
    from factory.cli.output import print_json
    from factory.errors import ScenarioError

    try:
        scenario, warnings, notes = _sound(source, overrides, overlays)
    except ScenarioError as error:
        if not as_json:
            raise
        problems = [_fields(problem) for problem in error.problems]
        found = {"problems": problems, "warnings": [], "notes": []}
        print_json({"scenario": source, "is_sound": False, **found})
        raise SystemExit(error.exit_code) from None
    if as_json:
        told = {"problems": [], "warnings": [_fields(each) for each in warnings], "notes": notes}
        print_json({"scenario": source, "is_sound": True, **told})
        return
    pools = sum(len(deployment.pools) for deployment in scenario.deployments)
    print(f"{scenario.name}: sound ({_some(len(scenario.deployments), 'deployment')},", end=" ")
    print(f"{_some(pools, 'pool')}, {_some(len(scenario.workload.tenants), 'tenant')})")
    for warning in warnings:
        print(f"warning: {warning}")
    for note in notes:
        print(f"note: {note}")


def _fields(problem: Problem) -> dict[str, Any]:
    names = ("location", "path", "message", "got", "allowed", "nearest")
    return {name: getattr(problem, name) for name in names}


def _sound(
    source: str, overrides: Sequence[str], overlays: Sequence[Path]
) -> tuple[Scenario, list[Problem], list[str]]:
    """The scenario, what in it is seldom meant, and what to know of its results.

    Raises:
        FactoryError: It cannot be used.
    """
    from factory.errors import ScenarioError
    from factory.scenario import catalog_of, load
    from factory.simulation.preflight import notes, preflight, warnings

    scenario = load(source, overrides, overlays=overlays)
    known = catalog_of(scenario)
    problems = preflight(scenario, known)
    if problems:
        raise ScenarioError(problems)
    return scenario, warnings(scenario, known), notes(scenario, known)


def _some(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def check_laws(run_dir: Path, *, as_json: bool) -> None:
    """Hold the conservation laws on a finished run.

    Args:
        run_dir: A finished run's directory.
        as_json: Print one JSON object and nothing else.

    Raises:
        FactoryError: There is no such run.
        SystemExit: With 1, a law does not hold.
    """
    from factory.cli.finished import finished_run
    from factory.cli.output import print_json
    from factory.validation.laws import check_run

    results = check_run(finished_run(run_dir))
    if as_json:
        fields = ("name", "holds", "measured", "limit", "detail")
        laws = [{field: getattr(law, field) for field in fields} for law in results]
        print_json(
            {"run_dir": str(run_dir), "is_sound": all(r.holds for r in results), "laws": laws}
        )
    else:
        width = max((len(law.name) for law in results), default=0)
        for law in results:
            print(f"{'holds ' if law.holds else 'BROKEN'}  {law.name:<{width}}  {law.detail}")
    if not all(law.holds for law in results):
        raise SystemExit(1)
