"""What `facility.failures` may say, each error with its place and its remedy."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from factory.errors import InputError, ScenarioError
from factory.scenario import catalog, load
from factory.scenario.failures import PRESETS, YEAR_S, Failures
from factory.scenario.fault_targets import FaultTarget, fault_places
from factory.scenario.fault_trace import read_faults


@pytest.fixture
def hall(minimal: dict[str, Any]) -> dict[str, Any]:
    """Two NVL72 racks in two rows, with three replicas."""
    source = copy.deepcopy(minimal)
    source["facility"] = {
        "rows": [{"name": "row", "count": 2}],
        "racks": [{"name": "nvl72", "system": "gb200-nvl72", "count": 2, "row": "row"}],
    }
    pool = source["deployments"][0]["pools"][0]
    pool |= {"racks": "nvl72", "replicas": 3}
    return source


def found(source: dict[str, Any], **failures: Any) -> dict[str, str]:
    """Problems by path below ``facility.failures``."""
    source["facility"]["failures"] = failures
    try:
        load(source)
    except ScenarioError as refused:
        prefix = "facility.failures."
        return {problem.path.removeprefix(prefix): str(problem) for problem in refused.problems}
    return {}


def process(**changes: Any) -> dict[str, Any]:
    return {"name": "p", "of": "gpu", "mtbf_s": 1e6, "repair_s": 60, **changes}


def test_what_is_sound(hall: dict[str, Any]) -> None:
    assert not found(hall)
    assert not found(
        hall,
        preset="llama-3",
        processes=[
            process(of="tray", distribution="weibull", shape=0.7),
            process(name="q", of="row", repair_s={"distribution": "exponential", "mean": 3600}),
            process(name="r", mtbf_s=None, per_1000_node_days=5, of="node", kind="replacement"),
        ],
        faults=[
            {"at_s": 1, "target": target, "duration_s": 5}
            for target in (
                "nvl72-0",
                "nvl72-1/node-17",
                "nvl72-1/tray-0",
                "nvl72-0/gpu-71",
                "nvl72-0/domain-0",
                "network/nvl72-1",
                "row-1",
                "serve-2",
            )
        ],
        spares=[{"racks": "nvl72", "of": "tray", "units": 2, "swap_s": 900}],
        maintenance=[{"at_s": 5, "targets": ["row-0"], "duration_s": 60, "every_s": 600}],
        upgrades=[{"pool": "serve", "at_s": 9}, {"deployment": "chat", "at_s": 59, "at_once": 2}],
    )


@pytest.mark.parametrize(
    ("failures", "path", "message", "remedy"),
    [
        ({"preset": "lama-3"}, "preset", "unknown preset", "did you mean llama-3?"),
        (
            {"processes": [process(mtbf_s=-1.0)]},
            "processes[0].mtbf_s",
            "must be > 0, got -1",
            "",
        ),
        (
            {"processes": [process(mtbf_s=None)]},
            "processes[0]",
            "must give exactly one of mtbf_s and per_1000_node_days",
            "none",
        ),
        (
            {"processes": [process(of="rack", mtbf_s=None, per_1000_node_days=5)]},
            "processes[0].per_1000_node_days",
            "of a rack state mtbf_s",
            "",
        ),
        (
            {"processes": [process(distribution="weibull")]},
            "processes[0].shape",
            "is missing: the shape of the Weibull law",
            "> 0",
        ),
        ({"processes": [process(shape=2)]}, "processes[0].shape", "this is exponential", "weibull"),
        (
            {"processes": [process(racks="nvl")]},
            "processes[0].racks",
            "unknown rack group",
            "did you mean nvl72?",
        ),
        (
            {"processes": [process(of="network", kind="replacement")]},
            "processes[0].kind",
            "a network is mended in place",
            "recoverable",
        ),
        (
            {"processes": [process(), process()]},
            "processes[1].name",
            "is the name of facility.failures.processes[0] too",
            "names must differ",
        ),
        (
            {"preset": "high", "processes": [process(name="broken_gpu")]},
            "processes[0].name",
            "is the name of a process of preset high",
            "names must differ",
        ),
        (
            {"faults": [{"at_s": 1, "target": "nvl72-2", "duration_s": 1}]},
            "faults[0].target",
            "there is nothing of this number",
            "nvl72-0 to nvl72-1",
        ),
        (
            {"faults": [{"at_s": 1, "target": "nvl72-4/tray-2", "duration_s": 1}]},
            "faults[0].target",
            "there is nothing of this number",
            "nvl72-0/tray-2 to nvl72-1/tray-2",
        ),
        (
            {"faults": [{"at_s": 1, "target": "nvl7-9", "duration_s": 1}]},
            "faults[0].target",
            "there is nothing of this name",
            "nvl72-0 to nvl72-1",
        ),
        (
            {"faults": [{"at_s": 1, "target": "nvl72-0/nod-1", "duration_s": 1}]},
            "faults[0].target",
            "names no part of a rack",
            "did you mean nvl72-0/node-1?",
        ),
        (
            {"faults": [{"at_s": 1, "target": "serve-9", "duration_s": 1}]},
            "faults[0].target",
            "there is nothing of this number",
            "serve-0 to serve-2",
        ),
        (
            {"faults": [{"at_s": 60, "target": "nvl72-0", "duration_s": 1}]},
            "faults[0].at_s",
            "must be before the run ends (run.duration_s, 60), got 60",
            "",
        ),
        (
            {"maintenance": [{"at_s": 61, "targets": ["nvl72-0"], "duration_s": 1}]},
            "maintenance[0].at_s",
            "must be before the run ends",
            "",
        ),
        (
            {"upgrades": [{"at_s": 90, "pool": "serve"}]},
            "upgrades[0].at_s",
            "must be before the run ends",
            "",
        ),
        (
            {"faults": [{"at_s": 1, "target": "nvl7-1/tray-2", "duration_s": 1}]},
            "faults[0].target",
            "there is nothing of this name",
            "did you mean nvl72-1/tray-2?",
        ),
        (
            {"faults": [{"at_s": 1, "target": "nvl72-0/tray-18", "duration_s": 1}]},
            "faults[0].target",
            "rack nvl72-0 has no such tray",
            "nvl72-0/tray-0 to nvl72-0/tray-17",
        ),
        (
            {"faults": [{"at_s": 1, "target": "nvl72-0/shelf-1", "duration_s": 1}]},
            "faults[0].target",
            "names no part of a rack",
            "nvl72-0/tray-N",
        ),
        (
            {"faults": [{"at_s": 1, "target": "network/nvl72-7", "duration_s": 1}]},
            "faults[0].target",
            "there is nothing of this number",
            "network/nvl72-0 to network/nvl72-1",
        ),
        (
            {"faults": [{"at_s": -1, "target": "nvl72-0", "duration_s": 1}]},
            "faults[0].at_s",
            "must be >= 0",
            "",
        ),
        (
            {
                "faults": [
                    {"at_s": 1, "target": "row-1", "duration_s": 1, "kind": "replacement"},
                ]
            },
            "faults[0].kind",
            "this is mended in place",
            "recoverable",
        ),
        (
            {"spares": [{"racks": "nvl72", "of": "tray", "units": 36}]},
            "spares[0].units",
            "are GPUs that no pool uses, 144 of them: racks nvl72 hold 144, pools take 3",
            "at most 35",
        ),
        (
            {"spares": [{"racks": "nvl", "units": 1}]},
            "spares[0].racks",
            "unknown rack group",
            "nvl72",
        ),
        (
            {
                "spares": [
                    {"racks": "nvl72", "of": "tray", "units": 1},
                    {"racks": "nvl72", "of": "node", "units": 1},
                ]
            },
            "spares[1]",
            "a second time",
            "add up the units",
        ),
        (
            {"maintenance": [{"at_s": 1, "targets": ["serve-3"], "duration_s": 1}]},
            "maintenance[0].targets[0]",
            "there is nothing of this number",
            "serve-0 to serve-2",
        ),
        (
            {"upgrades": [{"pool": "serves", "at_s": 1}]},
            "upgrades[0].pool",
            "unknown pool",
            "did you mean serve?",
        ),
        (
            {"upgrades": [{"at_s": 1}]},
            "upgrades[0]",
            "must give exactly one of pool and deployment",
            "none",
        ),
    ],
)
def test_what_is_wrong(
    hall: dict[str, Any], failures: dict[str, Any], path: str, message: str, remedy: str
) -> None:
    problems = found(hall, **failures)
    assert list(problems) == [path]
    assert message in problems[path]
    assert remedy in problems[path]


def test_a_row_needs_rows(minimal: dict[str, Any]) -> None:
    problems = found(minimal, processes=[process(of="row")])
    assert "needs facility.rows" in problems["processes[0].of"]


def test_the_presets_are_as_published() -> None:
    """Llama 3: 419 interruptions in 54 days on 16,384 GPUs; 4 to 6.5 in 1,000 node-days."""
    day_s = 86_400.0
    for name, per_1000, permanent in (
        ("llama-3", 419 / 54 / (16_384 / 8) * 1000, 0.04),
        ("low", 4.0, 0.025),
        ("high", 6.5, 0.06),
    ):
        rates = [1.0 / (process.mtbf_s or 0.0) for process in PRESETS[name]]
        assert sum(rates) * 8 * 1000 * day_s == pytest.approx(per_1000)
        [broken] = [one for one in PRESETS[name] if one.kind == "replacement"]
        assert YEAR_S / (broken.mtbf_s or 1.0) == pytest.approx(permanent)
    made = Failures.model_validate({"preset": "low", "processes": [process()]})
    assert [one.name for one in made.all_processes] == ["interruption", "broken_gpu", "p"]


def test_targets(hall: dict[str, Any]) -> None:
    places = fault_places(load(hall), catalog())
    assert places.find("row-1") == FaultTarget("row", 1)
    assert places.find("nvl72-1/tray-2") == FaultTarget("node", 1, 2)
    assert places.find("nvl72-1/domain-0") == FaultTarget("nvlink_domain", 1, 0)
    assert places.find("serve-2") == FaultTarget("replica", 2)
    assert places.find("network/serve-2") is None


HEADER = "time_s,target,duration_s,kind\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": is empty; it must begin with the columns time_s, target"),
        ("time,what\n", ":1: the columns must be time_s, target, duration_s, kind, got time, what"),
        (HEADER + "5,nvl72-0,3,\n\n4,nvl72-0,3,\n", ":4: time_s: runs back in time, got 4 after 5"),
        (HEADER + "5,nvl72-3,3,\n", ':2: target: there is nothing of this number, got "nvl72-3"'),
        (HEADER + "5,nvl72-0,-3,\n", ":2: duration_s: must be > 0, got -3"),
        (HEADER + "-5,nvl72-0,3,\n", ":2: time_s: must be >= 0, got -5"),
        (HEADER + ",nvl72-0,3,\n", ":2: time_s is missing; fill it in"),
        (HEADER + "x,nvl72-0,3,\n", ":2: time_s: must be a finite number, got 'x'"),
        (HEADER + "5,nvl72-0,3,gone\n", ":2: kind: must be recoverable or replacement, got 'gone'"),
        (HEADER + "5,nvl72-0\n", ":2: must have the cells time_s, target, duration_s, kind"),
    ],
)
def test_a_trace_that_is_wrong(
    hall: dict[str, Any], tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "faults.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_faults(str(file), fault_places(load(hall), catalog()))
    assert message in str(refused.value)
    assert message in found(hall, trace=str(file))["trace.path"]


def test_a_trace(hall: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "faults.csv"
    rows = "# a fleet\n" + HEADER + "1,nvl72-0/gpu-3,60,recoverable\n2.5,network/nvl72-1,5,\n"
    file.write_text(rows + "2.5,nvl72-1/tray-1,9e4,replacement\n", encoding="utf-8")
    faults = read_faults(str(file), fault_places(load(hall), catalog()))
    assert [(fault.at_s, fault.duration_s, fault.kind) for fault in faults] == [
        (1.0, 60.0, "recoverable"),
        (2.5, 5.0, "recoverable"),
        (2.5, 90_000.0, "replacement"),
    ]
    hall["facility"]["failures"] = {"trace": {"path": str(file)}}
    loaded = load(hall).facility.failures.trace
    assert loaded is not None
    assert loaded.sha256


def test_a_trace_that_is_not_there(hall: dict[str, Any]) -> None:
    from factory.scenario import missing_files

    hall["facility"]["failures"] = {"trace": "nowhere.csv"}
    [problem] = missing_files(load(hall))
    assert problem.path == "facility.failures.trace.path"
    assert "no such file of faults" in str(problem)
