from __future__ import annotations

import pickle

import pytest

from factory.errors import FactoryError, InputError, Problem, RunError, ScenarioError


def test_a_problem_reads_place_message_value_and_hints():
    problem = Problem(
        "deployments[0].pools[0].replicas", "must be > 0", 0, "1 or more", "1", "configs/x.yaml:7:5"
    )
    assert str(problem) == (
        "configs/x.yaml:7:5: deployments[0].pools[0].replicas: must be > 0, got 0 "
        "(allowed: 1 or more; did you mean 1?)"
    )


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("", "is empty", location="x.yaml:1:1"), "x.yaml:1:1: is empty"),
        (Problem("run", "is missing"), "run: is missing"),
        (Problem("", "is wrong"), "is wrong"),
        (Problem("a", "m", "2s"), 'a: m, got "2s"'),
        (Problem("a", "m", True), "a: m, got true"),
        (Problem("a", "m", 600.0), "a: m, got 600"),
        (Problem("a", "m", []), "a: m, got []"),
        (Problem("a", "m", [1, 2]), "a: m, got a list of 2"),
        (Problem("a", "m", {"b": 1, "c": 2}), "a: m, got a mapping with b, c"),
        (Problem("a", "m", {}), "a: m, got {}"),
    ],
)
def test_a_problem_leaves_out_what_it_does_not_know(problem, text):
    assert str(problem) == text


def test_a_long_value_is_cut():
    assert len(str(Problem("a", "m", "x" * 500))) < 80


def test_exit_codes():
    assert FactoryError.exit_code == 1
    assert RunError.exit_code == 1
    assert InputError.exit_code == 2
    assert ScenarioError.exit_code == 2


def test_a_scenario_error_has_a_line_per_problem_and_survives_pickling():
    error = ScenarioError([Problem("a", "m"), Problem("b", "n", 3)])
    assert str(error).splitlines() == ["a: m", "b: n, got 3"]
    again = pickle.loads(pickle.dumps(error))
    assert again.problems == error.problems
    assert str(again) == str(error)
