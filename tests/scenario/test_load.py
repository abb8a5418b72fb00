# ruff: noqa: E501 - messages are compared whole, each on its own line

from __future__ import annotations

from pathlib import Path

import pytest

from factory.errors import InputError, ScenarioError
from factory.scenario import load, locate, missing_files, shipped

TEXT = """\
name: small
facility:
  racks:
    - name: racks
      system: hgx-h200
deployments:
  - name: chat
    model: llama-3.1-8b
    pools:
      - name: serve
        role: aggregated
        racks: racks
        replicas: 2
workload:
  tenants:
    - name: people
      load: {rate: 1}
      input_tokens: 100
      output_tokens: {distribution: uniform, min: 1, max: 9}
run:
  duration_s: 60
"""


@pytest.fixture
def wrong(tmp_path, monkeypatch):
    """Loads TEXT with replacements; gives the lines of the error."""
    monkeypatch.chdir(tmp_path)

    def lines(*replacements, text=TEXT):
        for old, new in replacements:
            assert text.count(old) == 1
            text = text.replace(old, new)
        Path("x.yaml").write_text(text)
        with pytest.raises(ScenarioError) as caught:
            load("x.yaml")
        return str(caught.value).splitlines()

    return lines


def test_a_file_loads_and_knows_its_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(TEXT)
    scenario = load("x.yaml")
    assert scenario.deployments[0].pools[0].replicas == 2
    assert locate(scenario, "deployments[0].pools[0].replicas") == "x.yaml:13:19"
    assert locate(scenario, "deployments[0].pools[0].engine.max_num_seqs") == "x.yaml:10:9"
    assert load(Path("x.yaml")) == scenario


def test_all_problems_at_once_in_the_order_of_the_file(wrong):
    assert wrong(
        ("system: hgx-h200", "system: hgx_h201"),
        ("replicas: 2", "replicas: 0\n        tp: 8"),
        ("{rate: 1}", "{rate: 60/min}"),
        ("min: 1,", "min: 10,"),
        ("duration_s: 60", "duration_s: 60s\n  windows: 5"),
    ) == [
        'x.yaml:5:15: facility.racks[0].system: unknown system, got "hgx_h201" (allowed: hgx-h100, hgx-h200, hgx-b200, gb200-nvl72, gb300-nvl72, hgx-b300, hgx-a100, mi300x, mi355x; did you mean hgx-h200?)',
        "x.yaml:13:19: deployments[0].pools[0].replicas: must be >= 1, got 0",
        "x.yaml:14:9: deployments[0].pools[0].tp: unknown field (did you mean parallel.tp?)",
        'x.yaml:18:20: workload.tenants[0].load.rate: must be a plain number, in sessions/s, got "60/min" (did you mean 1?)',
        "x.yaml:20:51: workload.tenants[0].output_tokens.min: must be <= max (9), got 10",
        'x.yaml:22:15: run.duration_s: must be a plain number, in seconds, got "60s" (did you mean 60?)',
        "x.yaml:23:3: run.windows: unknown field (did you mean window_s?)",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "replicas: 2",
            "replicas: two",
            'x.yaml:13:19: deployments[0].pools[0].replicas: must be a whole number, got "two"',
        ),
        (
            "replicas: 2",
            "replicas: 1.5",
            "x.yaml:13:19: deployments[0].pools[0].replicas: must be a whole number, got 1.5",
        ),
        (
            "replicas: 2",
            "replicas: -3",
            "x.yaml:13:19: deployments[0].pools[0].replicas: must be >= 1, got -3",
        ),
        (
            "replicas: 2",
            "replicas:",
            "x.yaml:13:9: deployments[0].pools[0].replicas: must be a whole number, not null",
        ),
        (
            "role: aggregated",
            "role: agregated",
            'x.yaml:11:15: deployments[0].pools[0].role: is not one of the choices, got "agregated" (allowed: prefill, decode, aggregated; did you mean aggregated?)',
        ),
        (
            "        role: aggregated\n",
            "",
            "x.yaml:10:9: deployments[0].pools[0].role: is missing: What its replicas do (allowed: prefill, decode, aggregated)",
        ),
        (
            "name: small",
            "name: small\nschema_version: 2",
            "x.yaml:2:17: schema_version: must be 1, got 2",
        ),
        (
            "name: small",
            "name: a b",
            'x.yaml:1:7: name: may hold letters, digits, _, - and . only, the first a letter or digit, got "a b"',
        ),
        (
            "duration_s: 60",
            "duration_s: .nan",
            "x.yaml:21:15: run.duration_s: must be a finite number, got nan",
        ),
        (
            "duration_s: 60",
            "duration_s: .inf",
            "x.yaml:21:15: run.duration_s: must be a finite number, got inf",
        ),
        (
            "duration_s: 60",
            "{}",
            "x.yaml:21:3: run: must give duration_s or requests: a load without them never ends",
        ),
        (
            "duration_s: 60",
            "duration_s: 60\n  drain: yes",
            'x.yaml:22:10: run.drain: must be true or false, got "yes"',
        ),
        (
            "duration_s: 60",
            "duration_s: 60\n  epoch: 2026-01-01T00:00:00",
            'x.yaml:22:10: run.epoch: must name its zone, as 2026-01-01T00:00:00Z, got "2026-01-01T00:00:00"',
        ),
        (
            "duration_s: 60",
            "duration_s: 60\n  duration_s: 70",
            "x.yaml:22:3: run.duration_s: is given twice, first on line 21",
        ),
        (
            "input_tokens: 100",
            "input_tokens: 1k tokens",
            'x.yaml:18:21: workload.tenants[0].input_tokens: must be a number or a distribution, as {distribution: uniform, min: 1, max: 9}, got "1k tokens" (did you mean 1000?)',
        ),
        (
            "input_tokens: 100",
            "input_tokens: 2k",
            'x.yaml:18:21: workload.tenants[0].input_tokens: must be a number or a distribution, as {distribution: uniform, min: 1, max: 9}, got "2k" (did you mean 2000?)',
        ),
        (
            "    - name: racks\n      system",
            "    - system",
            "x.yaml:4:7: facility.racks[0].name: is missing: Name of the group; pools refer to it",
        ),
    ],
)
def test_a_single_problem_reads_in_one_line(wrong, old, new, line):
    assert wrong((old, new)) == [line]


def test_wrong_shapes_are_said(wrong):
    assert wrong(text=TEXT.split("workload:", maxsplit=1)[0]) == [
        "x.yaml:1:1: run: is missing: How long to simulate, and how",
        "x.yaml:1:1: workload: is missing: Who asks, and when",
    ]
    assert wrong(text="- a\n") == [
        "x.yaml:1:1: must be a mapping with name, facility, deployments, workload and run, not a list"
    ]
    assert wrong(text="hello") == [
        "x.yaml:1:1: must be a mapping with name, facility, deployments, workload and run, not a single value"
    ]
    assert wrong(text="") == ["x.yaml:1:1: is empty"]


def test_a_shipped_scenario_loads_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scenario = load("quickstart")
    assert locate(scenario, "run.seed").startswith("configs/scenarios/quickstart.yaml:")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("quikstart", "did you mean quickstart?"),
        ("configs/hgx_h200.yml", "did you mean hgx-h200?"),
        (
            "nothing-like-it.yaml",
            "no such scenario or file (allowed: a path, or " + ", ".join(shipped()),
        ),
        (".", "is a folder"),
    ],
)
def test_a_source_that_is_not_there(source, text):
    with pytest.raises(InputError) as caught:
        load(source)
    assert not isinstance(caught.value, ScenarioError)
    assert text in str(caught.value)


def test_a_trace_that_is_not_there_is_found_without_reading():
    scenario = load("mooncake-conversation", ["workload.trace.path=nowhere.jsonl"])
    (problem,) = missing_files(scenario)
    assert problem.path == "workload.trace.path"
    assert problem.location == "--set workload.trace.path=nowhere.jsonl"
    assert "--set workload.trace.path=FILE" in problem.message
    assert "published at github.com/kvcache-ai/Mooncake" in problem.message
    assert missing_files(load("quickstart")) == []
    assert missing_files(load("mooncake-conversation", [f"workload.trace.path={__file__}"])) == []


def test_shipped_names_are_sorted():
    names = shipped()
    assert names == sorted(names)
    assert {"quickstart", "mooncake-conversation", "hgx-h200", "gb300-nvl72"} <= set(names)


def test_a_missing_trace_is_named_beside_other_problems():
    with pytest.raises(ScenarioError) as caught:
        load("mooncake-conversation", ["run.warmup_s=-1", "workload.trace.path=nowhere.jsonl"])
    assert [p.path for p in caught.value.problems] == ["run.warmup_s", "workload.trace.path"]
