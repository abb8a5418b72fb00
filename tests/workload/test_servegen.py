import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demand import play, scenario, workload

from factory.errors import InputError
from factory.workload import Request
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.servegen import read as read_rows

# start, rate, CV, law, shape, scale
FIRST = ["0,2,1,Gamma,1,0.5", "600,0,0,,0,0", "1200,0.5,3,Weibull,0.45,0.8"]
SECOND = ["0,0.25,2,Gamma,0.25,16", "600,4,1,Gamma,1,0.25", "1200,0,0,,0,0"]
LENGTHS = {
    "0": {"input_tokens": "{10: 0.5, 20: 0.5}", "output_tokens": "{1: 0.25, 3: 0.75}"},
    "600": {"input_tokens": "{}", "output_tokens": "{}"},
    "1200": {"input_tokens": "{1000: 1.0}", "output_tokens": "{0: 1.0}"},
}


def written(path: Path, traces: dict[int, list[str]], lengths: Any = LENGTHS) -> str:
    for number, lines in traces.items():
        (path / f"chunk-{number}-trace.csv").write_text("\n".join(lines) + "\n")
        (path / f"chunk-{number}-dataset.json").write_text(json.dumps(lengths))
    return str(path)


def read(path: str, seed: int = 0, **fields: Any) -> list[Request]:
    trace = {"format": "servegen", "path": path, **fields}
    return play(workload(scenario({"name": "users"}, trace=trace, seed=seed)))


def test_every_client_keeps_its_rate_in_every_window(tmp_path: Path) -> None:
    path = written(tmp_path, {1: FIRST, 2: SECOND})
    rows = list(read_rows(BadRows(path), seed=3))
    times = np.concatenate([r.times_s for r in rows])
    assert (np.diff(times) >= 0).all()
    counts = np.histogram(times, [0, 600, 1200, 1800])[0]
    assert counts.tolist() == [1200 + 150, 2400, 300]
    late = [n for r in rows for t, n in zip(r.times_s, r.inputs, strict=True) if t >= 1200]
    assert set(late) == {1000}
    answers = [n for r in rows for t, n in zip(r.times_s, r.outputs, strict=True) if t >= 1200]
    assert set(answers) == {1}


@pytest.mark.parametrize(("law", "shape"), [("Gamma", 0.25), ("Gamma", 4.0), ("Weibull", 0.6)])
def test_gaps_have_the_law_s_variation(tmp_path: Path, law: str, shape: float) -> None:
    path = written(tmp_path, {1: [f"0,50,1,{law},{shape},1", "2000,0,0,,0,0"]})
    gaps = np.diff(np.concatenate([r.times_s for r in read_rows(BadRows(path), seed=1)]))
    cv = shape**-0.5
    if law == "Weibull":
        cv = math.sqrt(math.gamma(1 + 2 / shape) / math.gamma(1 + 1 / shape) ** 2 - 1)
    # 100,000 gaps; the sample CV of the widest of these laws varies by about 1 %.
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_lengths_have_their_shares(tmp_path: Path) -> None:
    path = written(tmp_path, {1: ["0,20,1,Gamma,1,1", "2000,0,0,,0,0"]})
    inputs = [n for r in read_rows(BadRows(path), seed=1) for n in r.inputs]
    outputs = [n for r in read_rows(BadRows(path), seed=1) for n in r.outputs]
    assert len(inputs) == 40_000
    # Four standard deviations of a share.
    assert inputs.count(10) / 40_000 == pytest.approx(0.5, abs=0.01)
    assert outputs.count(3) / 40_000 == pytest.approx(0.75, abs=0.0087)
    both = list(zip(inputs, outputs, strict=True)).count((10, 3)) / 40_000
    assert both == pytest.approx(0.375, abs=0.0097)


def test_it_is_seeded_and_each_client_has_a_stream_of_its_own(tmp_path: Path) -> None:
    both = written(tmp_path, {1: FIRST, 2: SECOND})
    alone = str(tmp_path / "chunk-1-trace.csv")
    times = {r.arrival_s for r in read(both, seed=5)}
    assert {r.arrival_s for r in read(both, seed=5)} == times
    assert {r.arrival_s for r in read(both, seed=6)} != times
    first = [t for r in read_rows(BadRows(alone), 5) for t in r.times_s.tolist()]
    every = {t for r in read_rows(BadRows(both), 5) for t in r.times_s.tolist()}
    assert set(first) < every


def test_the_rate_is_scaled_at_the_clients(tmp_path: Path) -> None:
    path = written(tmp_path, {1: FIRST})
    assert len(read(path, rate_scale=2.5)) == 3000 + 750
    assert len(read(path, rate_scale=0.1)) == 120 + 30
    assert len(read(path, limit=7)) == 7
    inside = read(path, from_s=1200.0, to_s=1500.0)
    assert 50 < len(inside) < 250
    assert inside[0].arrival_s == 0.0
    assert inside[-1].arrival_s < 300


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1800,1,1,Gamma,1", "must have 6 cells (start, rate, CV, law, shape, scale), got 5"),
        ("1200,1,1,Gamma,1,1", "start: must rise from window to window, got 1200 after 1200"),
        ("1800,-1,1,Gamma,1,1", "rate and CV: must be >= 0, got -1 and 1"),
        ("1800,1,1,Cauchy,1,1", 'law: must be Gamma or Weibull, got "Cauchy"'),
        ("1800,1,1,Gamma,0,1", "shape: must be > 0, got 0"),
        ("1800,x,1,Gamma,1,1", "start, rate, CV, shape and scale must be numbers"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = written(tmp_path, {1: [*FIRST, line]})
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{tmp_path / 'chunk-1-trace.csv'}:4: {problem}")
    assert len(read(path, skip_bad_rows=1)) == 1500


@pytest.mark.parametrize(
    ("lengths", "problem"),
    [
        ({"x": {}}, "a window is named by its start in s"),
        ({"0": {"output_tokens": "{1: 1}"}}, "must have input_tokens"),
        ({"0": {"input_tokens": "{1: 0.5}", "output_tokens": "{1: 1}"}}, "shares must sum to 1"),
        ({"0": {"input_tokens": "{-1: 1}", "output_tokens": "{1: 1}"}}, "must be >= 0"),
        ({"0": {"input_tokens": "os.exit()", "output_tokens": "{1: 1}"}}, "must be {tokens"),
        ([], "must be an object of windows"),
    ],
)
def test_malformed_lengths(tmp_path: Path, lengths: Any, problem: str) -> None:
    with pytest.raises(InputError, match=r"chunk-1-dataset\.json") as caught:
        read(written(tmp_path, {1: FIRST}, lengths))
    assert problem in str(caught.value)


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no chunk-N-trace\.csv"):
        read(str(tmp_path))
    with pytest.raises(InputError, match="must be a folder"):
        read(str(tmp_path / "x.csv"))
    path = written(tmp_path, {1: ["0,0,0,,0,0"]})
    with pytest.raises(InputError, match="no client sends anything"):
        read(path)
    (tmp_path / "chunk-1-dataset.json").unlink()
    with pytest.raises(InputError, match=r"chunk-1-dataset\.json: no such file"):
        read(path)
