"""``factory check``: is this scenario, or this finished run, sound?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        scenario, notes = _sound(source, overrides, overlays)
    except ScenarioError as error:
        if not as_json:
            raise
        problems = [
            {
                name: getattr(problem, name)
                for name in ("location", "path", "message", "got", "allowed", "nearest")
            }
            for problem in error.problems
        ]
        print_json({"scenario": source, "is_sound": False, "problems": problems, "notes": []})
        raise SystemExit(error.exit_code) from None
    if as_json:
        print_json({"scenario": source, "is_sound": True, "problems": [], "notes": notes})
        return
    pools = sum(len(deployment.pools) for deployment in scenario.deployments)
    print(f"{scenario.name}: sound ({_some(len(scenario.deployments), 'deployment')},", end=" ")
    print(f"{_some(pools, 'pool')}, {_some(len(scenario.workload.tenants), 'tenant')})")
    for note in notes:
        print(f"note: {note}")


def _sound(
    source: str, overrides: Sequence[str], overlays: Sequence[Path]
) -> tuple[Scenario, list[str]]:
    """The scenario, and what to know of its step times.

    Raises:
        FactoryError: It cannot be used.
    """
    from factory.errors import ScenarioError
    from factory.scenario import catalog_of, load
    from factory.simulation.preflight import notes, preflight

    scenario = load(source, overrides, overlays=overlays)
    known = catalog_of(scenario)
    problems = preflight(scenario, known)
    if problems:
        raise ScenarioError(problems)
    return scenario, notes(scenario, known)


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
