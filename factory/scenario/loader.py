"""From a file, a name or plain data to a checked scenario, all problems at once."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from factory.errors import InputError, Problem, ScenarioError
from factory.scenario.checks import problems_of
from factory.scenario.document import Document, Locations, is_within, read
from factory.scenario.fault_trace import missing_fault_trace, settle_fault_trace
from factory.scenario.models import catalog_of
from factory.scenario.nearest import nearest
from factory.scenario.overlays import settle_overlays
from factory.scenario.overrides import apply
from factory.scenario.own_lengths import missing_lengths, settle_lengths
from factory.scenario.own_models import settle_models
from factory.scenario.own_rates import missing_rates, settle_rates
from factory.scenario.own_tables import settle_tables
from factory.scenario.problems import errors_of, translate
from factory.scenario.repair import repaired
from factory.scenario.resolve import complete
from factory.scenario.resources import configs, shipped
from factory.scenario.schema import Scenario
from factory.scenario.series import settle_series
from factory.scenario.workloads import names_workload, settle_workloads

#: Where the traces of a format are published.
PUBLISHED = {
    "mooncake": "github.com/kvcache-ai/Mooncake, FAST25-release/traces",
    "azure": "github.com/Azure/AzurePublicDataset",
    "burstgpt": "github.com/HPMLL/BurstGPT",
    "bailian": "github.com/alibaba-edu/qwen-bailian-usagetraces-anon",
    "servegen": "github.com/alibaba/ServeGen, data",
}
#: Formats whose traces can be folders.
_FOLDERS = ("servegen", "fact_requests")


def load(
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    seed: int | None = None,
    overlays: Sequence[str | Path] = (),
) -> Scenario:
    """Read and check a scenario, and fill in the defaults that follow from it.

    Args:
        source: name of a shipped scenario, path of a YAML file, or plain data.
        overrides: ``a.b[0].c=value`` each, the value parsed as YAML; later ones win.
        seed: in place of ``run.seed``.
        overlays: files of catalogue changes, on top of those that the scenario names.

    Raises:
        InputError: there is no such scenario, or its file cannot be read.
        ScenarioError: the scenario is wrong; it holds every problem found.
    """
    document = _document(source)
    if not isinstance(document.data, dict):
        raise ScenarioError(document.problems or [_not_a_mapping(document)])
    folder = _folder(source)
    problems = list(document.problems)
    # A flag may change what is used, and what is used may hold what a flag changes.
    first = [override for override in overrides if names_workload(override)]
    problems += apply(document, first)
    problems += settle_workloads(document, folder)
    problems += apply(document, [override for override in overrides if override not in first])
    problems += settle_workloads(document, folder)
    if seed is not None:
        problems += apply(document, [f"run.seed={seed}"])
        document.locations.replace("run.seed", f"--seed {seed}")
    _name_overlays(document, overlays)
    problems += settle_overlays(document, folder)
    problems += settle_models(document, folder)
    problems += settle_tables(document, folder)
    problems += settle_lengths(document, folder)
    problems += settle_rates(document, folder)
    problems += settle_series(document, folder)
    problems += settle_fault_trace(document, folder)
    locations = document.locations
    hidden = {problem.path for problem in problems if problem.path}
    scenario: Scenario | None
    try:
        scenario = Scenario.model_validate(document.data)
    except ValidationError as failure:
        errors = errors_of(failure)
        problems += [translate(error, locations) for error in errors]
        try:
            scenario, touched = repaired(document.data, errors)
            hidden |= touched
        except ValueError:
            scenario = None
    if scenario is not None:
        found = check(scenario, locations)
        if problems or found:
            found += _missing_files(scenario, locations)
        problems += [problem for problem in found if not _is_hidden(problem.path, hidden)]
    if problems or scenario is None:
        by_text = {str(problem): problem for problem in problems}
        raise ScenarioError(sorted(by_text.values(), key=_order))
    whole = complete(scenario, catalog_of(scenario))
    whole._locations = locations  # noqa: SLF001 - the loader is what knows the places
    return whole


def check(scenario: Scenario, locations: Locations | None = None) -> list[Problem]:
    """What is wrong with a scenario that the schema alone cannot tell.

    Args:
        scenario: it holds to the schema.
        locations: where it was written; by default what it remembers.

    Returns:
        The problems, none if it can be built.
    """
    places = scenario._locations if locations is None else locations  # noqa: SLF001 - as above
    return [
        dataclasses.replace(problem, location=places.of(problem.path))
        for problem in problems_of(scenario, catalog_of(scenario))
    ]


def missing_files(scenario: Scenario) -> list[Problem]:
    """A problem for each file that a scenario names and that is not there; reads nothing."""
    return _missing_files(scenario, scenario._locations)  # noqa: SLF001 - as above


def _missing_files(scenario: Scenario, locations: Locations) -> list[Problem]:
    problems = []
    for number, deployment in enumerate(scenario.deployments):
        for position, pool in enumerate(deployment.pools):
            table = pool.engine.step_model.path
            if table is not None and not Path(table).is_file():
                path = f"deployments[{number}].pools[{position}].engine.step_model.path"
                message = "no such file of step times"
                problems.append(Problem(path, message, table, location=locations.of(path)))
    for number, tenant in enumerate(scenario.workload.tenants):
        problems += [
            dataclasses.replace(problem, location=locations.of(problem.path))
            for problem in missing_lengths(tenant, f"workload.tenants[{number}]")
        ]
    problems += [
        dataclasses.replace(problem, location=locations.of(problem.path))
        for problem in missing_rates(scenario.workload)
    ]
    problems += [
        dataclasses.replace(problem, location=locations.of(problem.path))
        for problem in missing_fault_trace(scenario.facility.failures)
    ]
    return problems + _missing_trace(scenario, locations)


def _missing_trace(scenario: Scenario, locations: Locations) -> list[Problem]:
    trace = scenario.workload.trace
    if trace is None or Path(trace.path).is_file():
        return []
    if trace.format in _FOLDERS and Path(trace.path).is_dir():
        return []
    path = "workload.trace.path"
    message = f"no such file; name yours with --set {path}=FILE"
    published = PUBLISHED.get(trace.format)
    if published is not None:
        message += f" (traces do not ship; {trace.format}'s are published at {published})"
    return [Problem(path, message, trace.path, location=locations.of(path))]


def locate(scenario: Scenario, path: str) -> str | None:
    """Where a path was written: ``file:line:column``, or the flag that set it; None if unknown."""
    return scenario._locations.of(path)  # noqa: SLF001 - as above


def _document(source: str | Path | Mapping[str, Any]) -> Document:
    if isinstance(source, Mapping):
        return Document(data=_plain(source))
    name = str(source)
    if isinstance(source, str) and source in shipped():
        file = configs() / "scenarios" / f"{source}.yaml"
        return read(file.read_bytes(), f"configs/scenarios/{source}.yaml")
    try:
        return read(Path(source).read_bytes(), name)
    except FileNotFoundError:
        names = shipped()
        hint = nearest(Path(name).stem, names)
        problem = Problem(
            "", "no such scenario or file", None, "a path, or " + ", ".join(names), hint, name
        )
        raise InputError(str(problem)) from None
    except IsADirectoryError:
        raise InputError(f"{name}: is a folder; a scenario is one YAML file") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None


def _name_overlays(document: Document, overlays: Sequence[str | Path]) -> None:
    """Adds overlays of the command line to those of the document."""
    data: Any = document.data
    if not overlays:
        return
    data["catalog_overlays"] = named = data.get("catalog_overlays") or []
    if isinstance(named, list):
        for file in overlays:
            place = f"catalog_overlays[{len(named)}]"
            named.append(str(file))
            document.locations.replace(place, f"--overlay {file}")


def _folder(source: str | Path | Mapping[str, Any]) -> Path:
    """What paths in a scenario start from: the folder of its file."""
    if isinstance(source, Mapping) or (isinstance(source, str) and source in shipped()):
        return Path()
    return Path(source).parent


def _plain(value: Any) -> Any:
    """A private copy in which every mapping is a dict and every sequence a list."""
    if isinstance(value, Mapping):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return copy.copy(value)


def _not_a_mapping(document: Document) -> Problem:
    what = "a list" if isinstance(document.data, list) else "a single value"
    message = f"must be a mapping with name, facility, deployments, workload and run, not {what}"
    return Problem("", message, location=document.locations.of(""))


def _is_hidden(path: str, hidden: Iterable[str]) -> bool:
    """Whether a finding rests on a value that is not what was written."""
    return any(is_within(path, other) or is_within(other, path) for other in hidden)


def _order(problem: Problem) -> tuple[int, str, int, int, str]:
    """By file, line and column; what flags set comes last."""
    parts = (problem.location or "").rsplit(":", 2)
    if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():
        return 0, parts[0], int(parts[1]), int(parts[2]), problem.path
    return 1, "", 0, 0, problem.path
