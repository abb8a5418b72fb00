"""Workloads that scenarios use by name: `configs/workloads/*.yaml`, or files of one's own.

A workload file describes tenants without saying how many of them there are: their lengths,
sessions, prefixes and service levels, and in which mix. A scenario takes all tenants with
`workload.use: NAME`, or one of them with `tenants[].like: NAME` (`NAME/TENANT` where there are
several), and states the rest itself. What the scenario states wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from factory.errors import InputError, Problem, ScenarioError
from factory.scenario.document import Document, Locations, join, read
from factory.scenario.findings import STAND_IN
from factory.scenario.merged import fill_in
from factory.scenario.nearest import nearest
from factory.scenario.resources import configs
from factory.scenario.specs import Kind

_FIELDS = ("name", "description", "sources", "tenants", "mix")
_SOURCE_FIELDS = ("kind", "source", "date", "of")
_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class WorkloadSource:
    """Where some numbers of a workload come from.

    Attributes:
        kind: measured, published, fitted or assumed.
        source: Who says so; for `fitted` to what, for `assumed` why.
        date: When it was said or read, `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
        of: Which numbers: fields of the file's tenants (`output_tokens`, `session.turns`,
            `chat.slo` for those of one tenant) or of the file (`mix`).
    """

    kind: Kind
    source: str
    date: str
    of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkloadFile:
    """A workload as its file states it, what it takes from other files filled in.

    Attributes:
        name: Name of the workload.
        description: What it is.
        sources: Where its numbers come from.
        data: `tenants` and, if it has one, `mix`, as in a scenario's `workload`.
        locations: Where each path of `data` was written.
    """

    name: str
    description: str
    sources: tuple[WorkloadSource, ...]
    data: Mapping[str, Any]
    locations: Locations = field(repr=False)

    @property
    def tenants(self) -> list[str]:
        """Names of its tenants."""
        return [tenant["name"] for tenant in self.data["tenants"]]


class _RefusedError(Exception):
    """A reference to a workload that cannot be followed."""

    def __init__(self, message: str, allowed: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.allowed = allowed
        self.hint = hint


def shipped_workloads() -> list[str]:
    """Names of the shipped workloads, sorted."""
    files = (configs() / "workloads").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def read_workload(name: str, folder: Path | None = None) -> WorkloadFile:
    """Reads a workload.

    Args:
        name: Of a shipped workload, or the path of a file.
        folder: What a relative path starts from; by default the working folder.

    Raises:
        InputError: There is no such workload, or its file cannot be read.
        ScenarioError: The file is not a workload; carries all problems at once.
    """
    try:
        return _read(name, folder or Path(), ())
    except _RefusedError as refused:
        raise InputError(
            str(Problem("", refused.message, name, refused.allowed, refused.hint))
        ) from None


def names_workload(override: str) -> bool:
    """Whether a `--set` says which workload is used: `workload.use=…`, `….like=…`."""
    path = override.partition("=")[0].strip()
    return path == "workload.use" or (
        path.startswith("workload.tenants[") and path.endswith(".like")
    )


def settle_workloads(document: Document, folder: Path) -> list[Problem]:
    """Writes the tenants and the mix that a scenario takes from workload files into its data.

    The document then says all that a run needs: `use` and `like` are gone, the files are not read
    again.

    Args:
        document: The scenario; its `workload` changes.
        folder: What relative paths start from, unless a flag set them.

    Returns:
        A problem for each reference that leads nowhere, and those of the files.
    """
    data: Any = document.data
    workload = data.get("workload") if isinstance(data, dict) else None
    if not isinstance(workload, dict):
        return []
    settling = _Settling(document.locations, folder, "workload", ())
    if "tenants" in workload:
        settling.likes(workload["tenants"])
    if "use" in workload:
        settling.use(workload)
    return settling.problems


class _Settling:
    """Fills in what one document takes from workload files."""

    def __init__(
        self, locations: Locations, folder: Path, outer: str, above: tuple[str, ...]
    ) -> None:
        self._locations = locations
        self._folder = folder
        self._outer = outer
        self._above = above
        self.problems: list[Problem] = []

    def likes(self, tenants: Any) -> None:
        """Fills in each tenant that is like one of a workload."""
        for index, tenant in enumerate(tenants if isinstance(tenants, list) else []):
            if not isinstance(tenant, dict) or "like" not in tenant:
                continue
            path = f"{join(self._outer, 'tenants')}[{index}]"
            given = tenant.pop("like")
            if given is None:
                continue
            place = self._locations.of(f"{path}.like")
            try:
                found, position = self._tenant(given, place)
            except (_RefusedError, ScenarioError) as refused:
                self._note(f"{path}.like", refused, given, place)
                _stand_in(tenant)
                continue
            source = f"tenants[{position}]"
            theirs = found.data["tenants"][position]
            fill_in(tenant, theirs, path, source, self._locations, found.locations)

    def use(self, workload: dict[str, Any]) -> None:
        """Fills in the tenants and the mix of a workload."""
        given = workload.pop("use")
        if given is None:
            return
        path = join(self._outer, "use")
        place = self._locations.of(path)
        tenants = workload.setdefault("tenants", [])
        if tenants is None:
            tenants = workload["tenants"] = []
        if not isinstance(tenants, list):
            return  # told by the schema
        try:
            found = self._file(given, place)
        except (_RefusedError, ScenarioError) as refused:
            self._note(path, refused, given, place)
            # A tenant of any name, so that shares and traces may mean what was not found.
            tenants.append({"load": {"rate": 1}})
            for tenant in tenants:
                if isinstance(tenant, dict):
                    _stand_in(tenant)
                    if "mix" not in workload:
                        tenant.setdefault("load", {"rate": 1})
            return
        outer = join(self._outer, "tenants")
        stated = {
            tenant.get("name"): index
            for index, tenant in enumerate(tenants)
            if isinstance(tenant, dict) and isinstance(tenant.get("name"), str)
        }
        mixed = _mixed(workload.get("mix"))
        for position, theirs in enumerate(found.data["tenants"]):
            source = f"tenants[{position}]"
            index = stated.get(theirs["name"])
            if index is None:
                if mixed and theirs["name"] not in mixed:
                    continue  # the scenario's own shares leave it out
                index = len(tenants)
                tenants.append({})
            at = f"{outer}[{index}]"
            fill_in(tenants[index], theirs, at, source, self._locations, found.locations)
        self._mix(workload, found)

    def _mix(self, workload: dict[str, Any], found: WorkloadFile) -> None:
        """Fills in the mix, unless it is stated to be none."""
        theirs = found.data.get("mix")
        if theirs is None:
            return
        mine = workload.setdefault("mix", {})
        if isinstance(mine, dict):
            at = join(self._outer, "mix")
            fill_in(mine, theirs, at, "mix", self._locations, found.locations)

    def _file(self, given: Any, place: str | None) -> WorkloadFile:
        if not isinstance(given, str) or not given:
            allowed = ", ".join(shipped_workloads())
            raise _RefusedError("must be the name of a workload or the path of one", allowed)
        folder = Path() if (place or "").startswith("--") else self._folder
        return _read(given, folder, self._above)

    def _tenant(self, given: Any, place: str | None) -> tuple[WorkloadFile, int]:
        """The file and the position of the tenant that `NAME` or `NAME/TENANT` means."""
        name, tenant = given, None
        if isinstance(given, str) and not given.endswith(_ENDINGS) and "/" in given:
            name, _, tenant = given.rpartition("/")
        found = self._file(name, place)
        known = found.tenants
        allowed = ", ".join(f"{name}/{each}" for each in known)
        if tenant is None:
            if len(known) > 1:
                raise _RefusedError("holds several tenants; name one", allowed)
            return found, 0
        if tenant not in known:
            hint = nearest(tenant, known)
            near = f"{name}/{hint}" if hint else None
            raise _RefusedError("the workload has no such tenant", allowed, near)
        return found, known.index(tenant)

    def _note(
        self, path: str, refused: _RefusedError | ScenarioError, given: Any, place: str | None
    ) -> None:
        if isinstance(refused, ScenarioError):
            self.problems += refused.problems
        else:
            found = Problem(path, refused.message, given, refused.allowed, refused.hint, place)
            self.problems.append(found)


def _read(name: str, folder: Path, above: tuple[str, ...]) -> WorkloadFile:
    """Reads a workload and what it takes from others; `above` are the files that lead here."""
    names = shipped_workloads()
    if name in names:
        key = label = f"configs/workloads/{name}.yaml"
        content = (configs() / "workloads" / f"{name}.yaml").read_bytes()
        beside = Path()
    elif name.endswith(_ENDINGS):
        file = folder / name
        key, label, beside = str(file.resolve()), str(file), file.parent
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            raise _RefusedError("no such workload file", None, nearest(file.stem, names)) from None
        except OSError as error:
            raise _RefusedError(f"cannot be read: {error.strerror}") from None
    else:
        allowed = f"{', '.join(names)}, or the path of a .yaml file"
        raise _RefusedError("no such workload", allowed, nearest(name, names))
    if key in above:
        raise _RefusedError(f"the workload leads back to itself: {' → '.join((*above, key))}")
    return _workload(read(content, label), Path(label).stem, beside, (*above, key))


def _workload(document: Document, name: str, folder: Path, above: tuple[str, ...]) -> WorkloadFile:
    places = document.locations
    problems = list(document.problems)
    if not isinstance(document.data, dict):
        if not problems:
            message = "must be a mapping with name, description, sources and tenants"
            problems.append(Problem("", message, location=places.of("")))
        raise ScenarioError(problems)
    data: dict[str, Any] = document.data
    problems += _unknown(data, "", _FIELDS, places)
    tenants = data.get("tenants")
    if not isinstance(tenants, list) or not tenants:
        problems.append(
            Problem("tenants", "must be a list of tenants", location=places.of("tenants"))
        )
        raise ScenarioError(problems)
    settling = _Settling(places, folder, "", above)
    settling.likes(tenants)
    problems += settling.problems
    for index, tenant in enumerate(tenants):
        if not isinstance(tenant, dict) or not isinstance(tenant.get("name"), str):
            at = f"tenants[{index}]"
            problems.append(Problem(at, "must be a mapping with a name", location=places.of(at)))
    if not isinstance(data.get("mix") or {}, dict):
        place = places.of("mix")
        problems.append(Problem("mix", "must be a mapping", data["mix"], location=place))
    sources = list(_sources(data.get("sources"), places, problems))
    if problems:
        raise ScenarioError(problems)
    return WorkloadFile(
        name=str(data.get("name", name)),
        description=str(data.get("description", "")),
        sources=tuple(sources),
        data={key: data[key] for key in ("tenants", "mix") if data.get(key) is not None},
        locations=places,
    )


def _sources(given: Any, places: Locations, problems: list[Problem]) -> Iterator[WorkloadSource]:
    """The sources of a file; what is wrong with them joins `problems`."""
    if given is None:
        return
    if not isinstance(given, list):
        message = "must be a list of {kind, source, date, of}"
        problems.append(Problem("sources", message, location=places.of("sources")))
        return
    for index, entry in enumerate(given):
        path = f"sources[{index}]"
        if not isinstance(entry, dict):
            message = "must be a mapping with kind, source, date and of"
            problems.append(Problem(path, message, entry, location=places.of(path)))
            continue
        problems += _unknown(entry, path, _SOURCE_FIELDS, places)
        for key in _SOURCE_FIELDS:
            if not entry.get(key):
                at = join(path, key)
                problems.append(Problem(at, "is missing", location=places.of(path)))
        kind, of = entry.get("kind"), entry.get("of")
        if kind and kind not in get_args(Kind):
            at, allowed = f"{path}.kind", ", ".join(get_args(Kind))
            message, hint = "is not one of the choices", nearest(kind, get_args(Kind))
            problems.append(Problem(at, message, kind, allowed, hint, places.of(at)))
            continue
        names = (
            (of,) if isinstance(of, str) else tuple(map(str, of if isinstance(of, list) else ()))
        )
        yield WorkloadSource(
            kind or "assumed", str(entry.get("source")), str(entry.get("date")), names
        )


def _unknown(
    data: Mapping[str, Any], outer: str, known: tuple[str, ...], places: Locations
) -> Iterator[Problem]:
    for key in data:
        if key not in known:
            at, hint = join(outer, key), nearest(key, known)
            allowed = None if hint else ", ".join(known)
            yield Problem(at, "unknown field", None, allowed, hint, places.of_key(at))


def _mixed(mix: Any) -> set[Any]:
    """Names of the tenants to which a scenario gives shares of its own; none if it gives none."""
    if not isinstance(mix, dict):
        return set()
    points = mix.get("schedule")
    tables = [point.get("shares") for point in points or () if isinstance(point, dict)]
    if not isinstance(mix.get("shares"), dict) and not tables:
        return set()
    tables += [mix.get("shares"), mix.get("toward")]
    return {name for table in tables if isinstance(table, dict) for name in table}


def _stand_in(tenant: dict[str, Any]) -> dict[str, Any]:
    """What a tenant needs to be looked at when what it is like is not known."""
    for key, value in (("name", STAND_IN), ("input_tokens", 1), ("output_tokens", 1)):
        tenant.setdefault(key, value)
    return tenant
