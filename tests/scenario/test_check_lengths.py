"""Distributions as a scenario states them: what is understood, what is refused, what is kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from factory.errors import ScenarioError
from factory.scenario import Length, check, flatten, load, missing_files, resolved
from factory.scenario.check_lengths import joint_problems, largest, length_problems, smallest
from factory.scenario.document import Document
from factory.scenario.lengths import JointLengths, distributions
from factory.scenario.own_lengths import missing_lengths, settle_lengths

TABLE = [[0, 1], [0.5, 216], [0.99, 1750], [1, 8000]]
MIXTURE = {
    "distribution": "mixture",
    "max": 9000,
    "components": [
        {"weight": 0.7, "distribution": "lognormal", "median": 216, "p99": 1751},
        {"weight": 0.3, "distribution": "empirical", "quantiles": TABLE},
    ],
}


def found(section: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in length_problems("x", Length.model_validate(section))]


def joint_found(section: Any) -> list[str]:
    return [str(problem) for problem in joint_problems("x", JointLengths.model_validate(section))]


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [
        # inference-perf
        ({"type": "fixed", "mean": 50}, 50),
        ({"mean": 50, "std_dev": 5, "min": 1, "max": 99},
         {"distribution": "normal", "mean": 50, "stddev": 5, "min": 1, "max": 99}),
        ({"type": "lognormal", "mean": 600, "std_dev": 400},
         {"distribution": "lognormal", "mean": 600, "stddev": 400}),
        ({"type": "uniform", "min": 40, "max": 200},
         {"distribution": "uniform", "min": 40, "max": 200}),
        # AIPerf
        ({"value": 512}, 512),
        ({"mean": 512, "stddev": 50}, {"distribution": "normal", "mean": 512, "stddev": 50}),
        ({"mean": 512, "std": 50}, {"distribution": "normal", "mean": 512, "stddev": 50}),
        ({"mean": 1024, "median": 512},
         {"distribution": "lognormal", "mean": 1024, "median": 512}),
        ({"p50": 50_000, "p99": 400_000},
         {"distribution": "lognormal", "median": 50_000, "p99": 400_000}),
        ({"type": "percentile", "p50": 5, "p99": 40},
         {"distribution": "lognormal", "median": 5, "p99": 40}),
        ({"peaks": [{"mean": 64, "stddev": 10}, {"value": 256}]},
         {"distribution": "mixture", "components": [
             {"distribution": "normal", "mean": 64, "stddev": 10, "weight": 1},
             {"distribution": "constant", "value": 256, "weight": 1}]}),
        ({"points": [{"value": 128, "weight": 40}, {"value": 512}]},
         {"distribution": "empirical", "values": [128, 512], "weights": [40, 1]}),
        ({"quantiles": TABLE}, {"distribution": "empirical", "quantiles": TABLE}),
    ],
)  # fmt: skip
def test_the_spelling_of_other_tools_is_understood(spelled: Any, meant: Any) -> None:
    assert Length.model_validate(spelled) == Length.model_validate(meant)


CLASSES = {
    "components": [
        {"weight": 40, "input_tokens": {"mean": 256, "stddev": 10}, "output_tokens": 128},
        {"weight": 60, "input_tokens": 512, "output_tokens": {"mean": 256, "stddev": 0.5}},
    ]
}


@pytest.mark.parametrize(
    "spelled",
    [
        "256|10,128:40;512,256|.5:60",
        "[(256|10,128):40,(512,256|0.5):60]",
        " 256 | 10 , 128 : 40 ; 512,256|0.5:60;",
        {"sequence_distribution": "256|10,128|0:40;512,256|0.5:60"},
        {"pairs": [
            {"isl": 256, "isl_stddev": 10, "osl": 128, "prob": 40},
            {"isl": 512, "osl": 256, "osl_stddev": 0.5, "prob": 60}]},
        {"sequence_distribution": {"pairs": [
            {"isl": 256, "isl_stddev": 10, "osl": 128, "prob": 40},
            {"isl": 512, "osl": 256, "osl_stddev": 0.5, "prob": 60}]}},
        {"sequence_distribution": [
            {"isl": {"mean": 256, "stddev": 10}, "osl": 128, "probability": 40},
            {"isl": 512, "osl": {"mean": 256, "stddev": 0.5}, "probability": 60}]},
    ],
)  # fmt: skip
def test_sequence_distributions_are_understood(spelled: Any) -> None:
    assert JointLengths.model_validate(spelled) == JointLengths.model_validate(CLASSES)
    assert joint_found(spelled) == []


@pytest.mark.parametrize(
    ("spelled", "message"),
    [
        ("256,128", 'cannot be read at "256,128": a sequence distribution is'),
        ("256,128:40 512,256:60", 'must have ; before "512,256:60"'),
        ({"components": [], "pairs": []}, "has components and pairs, which are the same"),
    ],
)
def test_sequence_distributions_that_cannot_be_read(spelled: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JointLengths.model_validate(spelled)


def test_one_thing_said_twice_is_refused(minimal: dict[str, Any], problems: Any) -> None:
    minimal["workload"]["tenants"][0]["input_tokens"] = {"mean": 5, "std": 1, "stddev": 2}
    (problem,) = problems(minimal).values()
    assert str(problem).startswith(
        "workload.tenants[0].input_tokens: has stddev and std, which are the same; keep one"
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"p50": 9, "p99": 4}, "x.p99: must be >= median (9) for lognormal, got 4"),
        ({"mean": 4, "median": 9}, "x.mean: must be >= median (9) for lognormal, got 4"),
        ({"median": 0, "p99": 4}, "x.median: must be > 0 for lognormal, got 0"),
        ({"p50": 5, "p99": 9, "mean": 6},
         ("x: lognormal takes median and p99 or mean and median, not a mix, got "
          '"mean, median, p99"')),
        ({"distribution": "lognormal", "mu": 5, "sigma": 40},
         "x.sigma: the mean would be infinite: mu + sigma² / 2 must stay below 700, got 40"),
        ({"distribution": "weibull", "shape": 0.01, "scale": 5},
         "x.shape: is too small: the variance would be infinite, got 0.01 (allowed: 0.1 or more)"),
        ({"distribution": "weibull", "shape": 1},
         'x: weibull needs scale and shape or mean and shape, got "shape"'),
        ({"distribution": "weibull", "shape": 1, "scale": 2, "alpha": 3},
         "x.alpha: weibull takes no alpha (allowed: scale and shape or mean and shape)"),
        ({"distribution": "lognormal", "mu": 1, "sigma": 2, "p99": 3},
         "x.p99: contradicts mu and sigma, which say all (allowed: leave one out)"),
        ({"components": [{"weight": 0.5, "value": 3}, {"weight": 0.6, "value": 4}]},
         ("x.components: weights must add up, got 1.1 (allowed: shares that add up to 1, "
          "percentages that add up to 100, or counts (whole numbers))")),
        ({"components": [{"weight": 0, "value": 3}]},
         ("x.components: weights must not all be 0, got 0 (allowed: shares that add up to 1, "
          "percentages that add up to 100, or counts (whole numbers))")),
        ({"components": [{"distribution": "pareto", "alpha": 0.5, "min": 2}, {"value": 3}]},
         ("x.components[0].alpha: must be > 1 without a max: the mean would be infinite, got 0.5")),
        ({"components": [{"components": [{"distribution": "exponential"}]}]},
         'x.components[0].components[0]: exponential needs mean, got "neither"'),
        ({"distribution": "empirical"},
         ("x: empirical needs quantiles or edges and weights or values or column and path, got "
          '"neither"')),
        ({"quantiles": [[0, 1], [0.5, 9], [0.4, 10], [1, 11]]},
         "x.quantiles[2][0]: p must rise: the one before is 0.5, got 0.4"),
        ({"quantiles": [[0, 1], [0.5, 9], [1, 8]]},
         "x.quantiles[2][1]: values must not fall: the one before is 9, got 8"),
        ({"quantiles": [[0.1, 1], [1, 8]]},
         "x.quantiles[0]: must be [0, the smallest value], got a list of 2"),
        ({"quantiles": [[0, 1], [0.99, 8]]},
         "x.quantiles[1]: must be [1, the largest value], got a list of 2"),
        ({"quantiles": TABLE, "values": [3]},
         'x: empirical takes quantiles or values, not a mix, got "quantiles, values"'),
        ({"quantiles": TABLE, "weights": [3]},
         "x.weights: has no meaning beside quantiles (allowed: leave one out)"),
        ({"values": [3], "interpolate": "linear"},
         "x.interpolate: has no meaning beside values (allowed: leave one out)"),
        ({"edges": [0, 5, 5], "weights": [1, 1]},
         "x.edges[2]: must rise: the edge before is 5, got 5"),
        ({"edges": [0, 5, 9], "weights": [1, 1, 3]},
         "x.weights: must be one for each of the 2 bins (3 edges), got 3 (allowed: 2 weights)"),
        ({"values": [4, 5], "weights": [0.5, 0.4]},
         ("x.weights: weights must add up, got 0.9 (allowed: shares that add up to 1, "
          "percentages that add up to 100, or counts (whole numbers))")),
        ({"path": "a.csv"},
         ("x: empirical needs quantiles or edges and weights or values or column and path, got "
          '"path"')),
    ],
)  # fmt: skip
def test_contradictions(section: dict[str, Any], message: str) -> None:
    assert found(section) == [message]


@pytest.mark.parametrize(
    "section",
    [
        MIXTURE,
        {"max": 90, "components": [{"distribution": "pareto", "alpha": 0.5, "min": 2}]},
        {"values": [1, 2, 3], "weights": [33.3, 33.3, 33.4]},
        {"edges": [0, 5, 9], "weights": [11, 4]},
        {"quantiles": TABLE, "interpolate": "linear", "min": 4},
        {"path": "a.csv", "column": "in", "sha256": "0", "max": 5},
        {"distribution": "lognormal", "median": 5, "sigma": 0},
    ],
)
def test_sound_distributions(section: dict[str, Any]) -> None:
    assert found(section) == []


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, ("x: lengths needs samples or input and output and path or components or correlation "
              'and input_tokens and output_tokens, got "neither"')),
        ({"samples": [[1, 2]], "path": "a", "input": "b", "output": "c"},
         ("x: lengths takes samples or input and output and path, not a mix, got "
          '"input, output, path, samples"')),
        ({"samples": [[1, 2]], "correlation": 0.5},
         "x.correlation: contradicts samples, which say all (allowed: leave one out)"),
        ({"samples": [[1, 2]], "weights": [1, 2]},
         "x.weights: must be one for each of the 1 samples, got 2 (allowed: 1 weights)"),
        ({"samples": [[0, 2], [0.4, 1]]},
         "x.samples: must have a sample with input tokens of at least 1, got 0.4"),
        ({"correlation": 0.4, "input_tokens": MIXTURE, "output_tokens": {"quantiles": TABLE}},
         ("x.input_tokens: cannot be correlated: a mixture's quantiles have no closed form "
          "(allowed: its quantile table (empirical), or samples of pairs)")),
        ({"correlation": 0.4, "input_tokens": 5, "output_tokens": {"quantiles": TABLE}},
         "x.correlation: has no effect: input_tokens is constant, got 0.4"),
        ("5,9:0.5;7,9:0.6",
         ("x.components: weights must add up, got 1.1 (allowed: shares that add up to 1, "
          "percentages that add up to 100, or counts (whole numbers))")),
        ("0,9:5", "x.components[0].input_tokens: must reach at least 1, got 0"),
        ({"components": [{"input_tokens": {"distribution": "normal", "mean": 3},
                          "output_tokens": 4}]},
         'x.components[0].input_tokens: normal needs mean and stddev, got "mean"'),
    ],
)  # fmt: skip
def test_contradictions_of_joint_lengths(section: Any, message: str) -> None:
    assert joint_found(section) == [message]


@pytest.mark.parametrize(
    ("section", "path", "message"),
    [
        ({"quantiles": [[0, 1], [0.5, -3], [1, 9]]}, ".quantiles[1][1]", "must be >= 0"),
        ({"quantiles": [[0, 1], [50, 3], [100, 9]]}, ".quantiles[1][0]", "must be <= 1"),
        ({"quantiles": [[0, 1], [0.5], [1, 9]]}, ".quantiles[1][1]", "is missing"),
        ({"components": [{"value": "3k"}]}, ".components[0].value", "must be a number"),
        ({"components": [{"mean": 3}]}, ".components[0].distribution", "is missing"),
        ({"edges": [1, 2], "weights": [-1]}, ".weights[0]", "must be >= 0"),
        ({"peaks": []}, ".components", "must have at least one item"),
        ({"mean": 3, "stddev": 1, "total_count": 9}, ".total_count", "unknown field"),
    ],
)
def test_schema_errors_name_their_place(
    minimal: dict[str, Any], problems: Any, section: Any, path: str, message: str
) -> None:
    minimal["workload"]["tenants"][0]["output_tokens"] = section
    problem = problems(minimal)[f"workload.tenants[0].output_tokens{path}"]
    assert problem.message.startswith(message)


def test_bounds_of_a_distribution_are_known() -> None:
    assert (smallest(Length.model_validate(MIXTURE)), largest(Length.model_validate(MIXTURE))) == (
        0,
        9000,
    )
    for section, ends in [
        (7, (7, 7)),
        ({"quantiles": TABLE}, (1, 8000)),
        ({"quantiles": TABLE, "min": 5, "max": 90}, (5, 90)),
        ({"edges": [3, 9], "weights": [1]}, (3, 9)),
        ({"values": [9, 4]}, (4, 9)),
        ({"components": [{"value": 3}, {"distribution": "uniform", "min": 1, "max": 9}]}, (1, 9)),
        ({"path": "a", "column": "b"}, (0, float("inf"))),
    ]:
        length = Length.model_validate(section)
        assert (smallest(length), largest(length)) == ends


def test_distributions_survive_being_resolved(minimal: dict[str, Any]) -> None:
    tenant = minimal["workload"]["tenants"][0]
    tenant["input_tokens"] = MIXTURE
    tenant["output_tokens"] = {"edges": [0, 5, 9], "weights": [11, 4]}
    scenario = load(minimal)
    assert check(scenario) == []
    again = load(resolved(scenario))
    assert again == scenario
    assert resolved(again) == resolved(scenario)
    leaves = dict(flatten(resolved(scenario)))
    place = "workload.tenants[0].input_tokens"
    assert leaves[f"{place}.components[1].quantiles[2][1]"] == 1750
    assert leaves[f"{place}.components[0].weight"] == 0.7
    assert f"{place}.mean" not in leaves
    place = "workload.tenants[0].input_tokens.components[0].weight=0.6"
    with pytest.raises(ScenarioError, match="weights must add up"):
        load(minimal, [place])


def test_joint_lengths_survive_being_dumped() -> None:
    for section in (
        CLASSES,
        {"samples": [[1, 2], [3, 4]], "weights": [1, 2]},
        {
            "correlation": -0.2,
            "input_tokens": {"quantiles": TABLE},
            "output_tokens": {"mean": 5, "stddev": 1},
        },
    ):
        made = JointLengths.model_validate(section)
        assert JointLengths.model_validate(made.model_dump(mode="json")) == made


def test_a_file_stands_beside_the_scenario_and_its_content_counts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("in\n3\n")
    digest = hashlib.sha256(b"in\n3\n").hexdigest()
    by_file = {"path": "a.csv", "column": "in"}
    data = {
        "workload": {
            "tenants": [
                {
                    "input_tokens": by_file,
                    "output_tokens": {"components": [{**by_file, "sha256": "other"}]},
                    "lengths": {"path": "b.csv", "input": "x", "output": "y"},
                    "load": {"profile": {"path": "rates.csv"}},
                }
            ]
        }
    }
    document = Document(data=data)
    (problem,) = settle_lengths(document, tmp_path)
    assert problem.path == "workload.tenants[0].output_tokens.components[0].sha256"
    tenant: Any = data["workload"]["tenants"][0]
    assert tenant["input_tokens"]["path"] == str(tmp_path / "a.csv")
    assert tenant["input_tokens"]["sha256"] == digest
    assert tenant["lengths"]["path"] == str(tmp_path / "b.csv")
    assert "sha256" not in tenant["lengths"]
    assert tenant["load"]["profile"]["path"] == "rates.csv"


def test_files_that_are_missing_are_named(minimal: dict[str, Any]) -> None:
    minimal["workload"]["tenants"][0]["output_tokens"] = {"path": "no.csv", "column": "in"}
    tenant = load(minimal).workload.tenants[0]
    (problem,) = missing_lengths(tenant, "t")
    assert str(problem) == 't.output_tokens.path: no such file of lengths, got "no.csv"'
    (problem,) = missing_files(load(minimal))
    assert problem.path == "workload.tenants[0].output_tokens.path"


def test_pairs_of_a_file_survive_being_resolved(minimal: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("in,out\n3,4\n")
    tenant = minimal["workload"]["tenants"][0]
    del tenant["input_tokens"], tenant["output_tokens"]
    tenant["lengths"] = {"path": "a.csv", "input": "in", "output": "out"}
    file = tmp_path / "s.yaml"
    YAML().dump(minimal, file)
    scenario = load(file)
    lengths = scenario.workload.tenants[0].lengths
    assert lengths is not None
    assert lengths.path == str(tmp_path / "a.csv")
    assert lengths.sha256 == hashlib.sha256(b"in,out\n3,4\n").hexdigest()
    assert load(resolved(scenario)) == scenario
    (tmp_path / "a.csv").write_text("in,out\n3,5\n")
    with pytest.raises(ScenarioError, match="is not the digest of"):
        load(resolved(scenario))


def test_every_distribution_of_a_tenant_is_found(minimal: dict[str, Any]) -> None:
    minimal["workload"]["tenants"][0]["input_tokens"] = MIXTURE
    places = [path for path, _ in distributions(load(minimal).workload.tenants[0], "t")]
    assert {"t.input_tokens", "t.input_tokens.components[1]", "t.session.turns"} <= set(places)
