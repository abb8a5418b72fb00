"""What a trace says: by hand on small ones, and the figures of the shared ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory.errors import InputError
from factory.studies.trace_asked import gather
from factory.studies.trace_clock import Part, cut, tick_of
from factory.studies.trace_fit import fit_workload, shared_start
from factory.studies.trace_inspect import inspect
from factory.studies.trace_prefixes import Beginnings, Continuations
from factory.workload.traces.records import Records, read

TRACES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "traces"


def shared(name: str) -> str:
    path = TRACES / name
    if not path.exists():
        pytest.skip(f"needs ../shared/data/traces/{name}, which is not beside this checkout")
    return str(path)


def records(times: list[float], inputs: list[int], outputs: list[int], **columns: Any) -> Records:
    return Records(np.array(times), np.array(inputs), np.array(outputs), **columns)


def test_a_small_trace_by_hand() -> None:
    # Block size 10. The second prompt continues the first, the third shares one block with it.
    batch = records(
        [100.0, 101.0, 103.0],
        [20, 40, 30],
        [5, 5, 10],
        blocks=[(0, 2), (0, 4), (0, 1, 50, 2)],
        block_size=10,
    )
    facts = inspect([batch], "mooncake")
    assert facts["rows"] == 3
    time = facts["time"]
    assert (time["duration_s"], time["rate_per_s"], time["gap_mean_s"]) == (3.0, 1.0, 1.5)
    assert time["gap_cv"] == pytest.approx(0.5 / 1.5)
    assert facts["tokens"] == {"input": 90, "output": 20, "total": 110, "input_per_output": 4.5}
    assert facts["input_tokens"]["p50"] == 30
    reuse = facts["reuse"]
    assert (reuse["blocks"], reuse["distinct_blocks"]) == (9, 6)
    assert reuse["ideal_hit_block_ratio"] == pytest.approx(3 / 9)
    assert reuse["ideal_hit_token_ratio"] == pytest.approx(30 / 90)
    # New input: 20, 40 - 20, 30 - 10.
    assert reuse["uncached_tokens_first"]["total"] == 60
    assert reuse["shared_prefixes"] == [
        {"blocks": 1, "tokens": 10, "prompts": 3, "prompt_ratio": 1.0}
    ]
    assert facts["sessions"] is None


def test_sessions_by_hand() -> None:
    # Session 0 has three requests over two batches, session 1 one, one request has none.
    first = records(
        [0.0, 1.0, 4.0], [100, 50, 150], [10, 10, 10], sessions=[0, 1, 0], turns=[0, 0, 1],
        delays_s=np.array([math.nan, math.nan, 2.5]),
    )  # fmt: skip
    second = records([5.0, 10.0], [70, 120], [10, 10], sessions=[-1, 0], turns=[0, 2])
    sessions = inspect([first, second], "mooncake")["sessions"]
    assert (sessions["count"], sessions["single_requests"]) == (2, 1)
    assert sessions["requests_per_session"]["total"] == 4
    assert sessions["requests_per_session"]["max"] == 3
    assert sessions["first_input_tokens"]["total"] == 150
    assert sessions["growth_tokens"]["total"] == 50
    assert sessions["shrunk_requests"] == 1
    assert sessions["request_to_request_s"]["mean"] == 5.0  # 4 s and 6 s
    assert sessions["answer_to_request_s"]["mean"] == 2.5
    assert sessions["duration_s"]["mean"] == 5.0  # 10 s and 0 s


def test_tasks_part_waits() -> None:
    batch = records(
        [0.0, 1.0, 9.0], [10, 20, 30], [1, 1, 1], sessions=[0, 0, 0], turns=[0, 1, 2],
        delays_s=np.array([math.nan, 0.5, 7.0]), tasks=[0, 0, 1], parents=[-1, 0, 1],
        agents=[0, 0, 0],
    )  # fmt: skip
    sessions = inspect([batch], "mooncake")["sessions"]
    assert sessions["answer_to_request_in_task_s"]["mean"] == 0.5
    assert sessions["answer_to_next_task_s"]["mean"] == 7.0


def test_a_part_counts_from_the_first_row() -> None:
    batches = [records([100.0 + i, 100.5 + i], [1, 2], [1, 1]) for i in range(5)]
    rest = iter(batches)
    kept = list(cut(rest, Part(1.0, 2.5), "azure"))
    assert [t for batch in kept for t in batch.times_s.tolist()] == [101.0, 101.5, 102.0]
    assert len(list(rest)) == 2  # what comes later is not read
    with pytest.raises(InputError, match="no row between --from and --to"):
        inspect(batches, "azure", Part(50.0, 60.0))
    with pytest.raises(InputError, match="no common clock"):
        inspect(batches, "agentic", Part(0.0, 60.0))


def test_a_clock_ticks_where_instants_are_shared() -> None:
    assert tick_of(np.repeat(np.arange(10) * 3.0, 4)) == 3.0
    assert tick_of(np.cumsum(np.ones(10))) is None
    rng = np.random.default_rng(1)
    times = np.floor(np.cumsum(rng.exponential(0.1, 20_000)) / 3) * 3
    facts = inspect([records(times.tolist(), [1] * 20_000, [1] * 20_000)], "azure")
    assert facts["time"]["clock_tick_s"] == 3.0
    assert facts["time"]["gap_cv_as_recorded"] > 4
    assert facts["time"]["gap_cv"] == pytest.approx(1, abs=0.05)


def test_beginnings_are_counted() -> None:
    found = Beginnings()
    for runs in [(0, 9)] * 9 + [(0, 5)] + [(100, 3)] * 5 + [()]:
        found.add(runs)
    first, second = found.most_shared()
    # Nine in ten of the first ten have nine blocks.
    assert (first.blocks, first.prompts, first.share) == (9, 10, 10 / 16)
    assert (second.blocks, second.prompts) == (3, 5)


def test_prompts_that_begin_with_a_whole_one_continue_it() -> None:
    found = Continuations(block_size=10, shared_blocks=1)
    assert found.add((0, 1, 5, 3), 0.0, 45, 5) is None  # four whole blocks, one of them shared
    assert found.add((0, 1, 9, 4), 1.0, 50, 5) is None  # the shared one only
    second = found.add((0, 1, 5, 6), 2.0, 70, 5)
    assert second is not None
    assert (second.number, second.turn, second.time_s, second.input_tokens) == (0, 0, 0.0, 45)
    third = found.add((0, 1, 5, 6, 30, 2), 3.0, 95, 5)
    assert third is not None
    assert (third.number, third.turn) == (0, 1)
    # The same beginning again belongs to nobody any more.
    assert found.add((0, 1, 5, 3, 70, 1), 4.0, 50, 5) is None
    assert found.conversations == 3


def test_a_fitted_chat_has_the_sessions_that_were_drawn() -> None:
    """Sessions of 1 + geometric turns with growth: the fit finds turns and new input again."""
    rng = np.random.default_rng(2)
    rows: list[tuple[float, int, int, int, int]] = []
    for session in range(3000):
        time, context = session * 10.0 + rng.random(), 0
        for turn in range(int(rng.geometric(0.4))):
            new, answer = int(rng.integers(50, 150)), int(rng.integers(10, 30))
            rows.append((time, context + new, answer, session, turn))
            context += new + answer
            time += 7.0
    rows.sort()
    times, inputs, outputs, sessions, turns = (list(column) for column in zip(*rows, strict=True))
    batch = records(times, inputs, outputs, sessions=sessions, turns=turns)
    samples = gather([batch], "mooncake", 0)
    assert samples.sessions == 3000
    assert samples.requests.mean == pytest.approx(2.5, rel=0.1)
    assert samples.later.quantiles([0.0, 1.0]) == [50, 149]
    assert samples.first.quantiles([0.0, 1.0]) == [50, 149]
    assert samples.waits_s.mean == pytest.approx(7.0)
    fitted = fit_workload(samples, "chat", times[-1] - times[0], None)
    assert fitted.tenant["session"]["growth"] is True
    assert fitted.tenant["load"]["rate"] == pytest.approx(0.1, rel=0.01)
    assert fitted.fits["input_tokens"].ks < 0.03


def test_a_rate_that_varies_becomes_a_profile() -> None:
    rng = np.random.default_rng(4)
    slow = np.cumsum(rng.exponential(1.0, 3000))
    fast = slow[-1] + np.cumsum(rng.exponential(0.25, 12_000))
    times = np.concatenate((slow, fast))
    n = len(times)
    samples = gather([records(times.tolist(), [10] * n, [10] * n)], "azure", 0)
    load = fit_workload(samples, "x", float(times[-1] - times[0]), None).tenant["load"]
    points = np.array(load["profile"]["points"])
    assert points[0, 1] == pytest.approx(0.4, abs=0.1)  # 1/s over 2.5/s in the mean
    assert points[-1, 1] == pytest.approx(1.6, abs=0.15)
    mean = np.trapezoid(points[:, 1], points[:, 0]) / points[-1, 0]
    assert mean == pytest.approx(1, abs=1e-3)
    assert "arrival" not in load  # the change explains the CV: Poisson


@pytest.mark.parametrize("cv", [0.4, 2.0])
def test_bursty_gaps_are_told_from_poisson(cv: float) -> None:
    rng = np.random.default_rng(6)
    times = np.cumsum(rng.gamma(1 / cv**2, cv**2, 20_000))
    samples = gather([records(times.tolist(), [10] * 20_000, [10] * 20_000)], "azure", 0)
    load = fit_workload(samples, "x", float(times[-1] - times[0]), None).tenant["load"]
    assert load["arrival"] == "gamma"
    assert load["cv"] == pytest.approx(cv, rel=0.1)
    assert "profile" not in load


def test_the_mooncake_file_gives_its_known_figures() -> None:
    facts = inspect(read(shared("mooncake_conversation.jsonl.gz"), "mooncake"), "mooncake")
    assert facts["rows"] == 12_031
    assert round(facts["time"]["duration_s"]) == 3537
    assert facts["time"]["clock_tick_s"] == 3.0
    told = [facts["input_tokens"][key] for key in ("mean", "p50", "p99")]
    assert [round(value) for value in told] == [12035, 6909, 85400]
    told = [facts["output_tokens"][key] for key in ("mean", "p50", "p99")]
    assert [round(value) for value in told] == [343, 350, 1119]
    assert round(facts["reuse"]["ideal_hit_block_ratio"], 6) == 0.366412
    assert round(facts["reuse"]["ideal_hit_token_ratio"], 6) == 0.373624
    start = shared_start(facts["reuse"])
    assert start is not None
    assert (start.tokens, start.share) == (512, 1.0)


def test_the_azure_file_gives_its_known_figures() -> None:
    facts = inspect(read(shared("azure_2023_conv.csv.gz"), "azure"), "azure")
    assert facts["rows"] == 19_366
    assert round(facts["time"]["duration_s"] / 60) == 58
    assert round(facts["time"]["gap_cv"], 2) == 1.09
    told = [facts["input_tokens"][key] for key in ("mean", "p50", "p99")]
    assert [round(value) for value in told] == [1155, 1020, 4142]
    told = [facts["output_tokens"][key] for key in ("mean", "p50", "p99")]
    assert [round(value) for value in told] == [211, 129, 601]
    assert facts["reuse"] is None


def test_the_agentic_file_gives_its_known_figures() -> None:
    facts = inspect(read(shared("agentic_sessions.parquet"), "agentic"), "agentic")
    sessions, reuse = facts["sessions"], facts["reuse"]
    assert (facts["rows"], sessions["count"]) == (49_334, 710)
    assert int(sessions["requests_per_session"]["p50"]) == 45
    assert round(reuse["ideal_hit_token_ratio"], 3) == 0.963
    assert round(facts["tokens"]["input_per_output"]) == 278
    assert facts["output_tokens"]["p50"] == 216
    assert sessions["growth_tokens"]["p50"] == pytest.approx(655, rel=0.03)
    assert reuse["uncached_tokens_later"]["p50"] == pytest.approx(704, rel=0.03)
    assert facts["time"] is None
