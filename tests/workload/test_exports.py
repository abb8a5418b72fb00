"""Demand as files of other formats: exact lines, and there and back."""

import gzip
import json
import math
import re
from collections.abc import Iterator
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demand import scenario, tenant
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import InputError
from factory.scenario import catalog
from factory.workload.blocks import Chains, Runs
from factory.workload.exports import TARGETS, Losses, Options, lines, target_block_size
from factory.workload.exports.azure import Style, style_of
from factory.workload.exports.chunks import SmallIds, resized
from factory.workload.exports.generated import generated
from factory.workload.exports.recorded import recorded
from factory.workload.exports.rows import Demand, Row
from factory.workload.exports.writer import write_text
from factory.workload.generate import answers_after
from factory.workload.traces.records import Records, read

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "traces"


def written(target: str, rows: list[Row], **options: Any) -> tuple[str, list[str]]:
    """The text of a file, and what it could not carry."""
    demand = Demand(map(copy, rows), any(row.session is not None for row in rows))
    losses = Losses()
    size = options.pop("block_size", TARGETS[target].block_size or 16)
    text = "".join(lines(demand, Options(target, size, **options), losses))
    return text, losses.messages()


def converted(path: Path, kind: str, target: str, *, has_sessions: bool = False) -> str:
    demand = recorded(read(str(path), kind), kind, has_sessions=has_sessions)
    style = style_of(str(path)) if kind == target == "azure" else Style()
    return "".join(lines(demand, Options(target, 512, style=style), Losses()))


TWO = [Row(0.0, 700, 5, (0, 2)), Row(1.5, 1100, 9, (0, 1, 7, 2))]
CHAT = [
    Row(0.0, 100, 10, (0, 1), "a", 0, answered_s=2.0),
    Row(1.0, 80, 4),
    Row(5.0, 130, 7, (0, 2), "a", 1, after=0, delay_s=3.0, answered_s=6.0),
]


def test_mooncake_lines() -> None:
    text, lost = written("mooncake", TWO)
    assert text == (
        '{"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [0, 1]}\n'
        '{"timestamp": 1500, "input_length": 1100, "output_length": 9, "hash_ids": [0, 7, 8]}\n'
    )
    assert not lost
    text, _ = written("mooncake", [Row(0.0274825, 1, 1)], names_blocks=False)
    assert text == '{"timestamp": 27.4825, "input_length": 1, "output_length": 1}\n'


def test_mooncake_lines_of_sessions_are_whole_prompts_at_their_times() -> None:
    # With a session_id readers would take each for what it adds to the prompt before.
    text, lost = written("mooncake", CHAT)
    assert [json.loads(line) for line in text.splitlines()][2] == {
        "timestamp": 5000, "input_length": 130, "output_length": 7, "hash_ids": [0, 1],
    }  # fmt: skip
    assert lost == ["2 requests are no longer tied to their sessions"]


def test_a_file_with_sessions_says_so_in_its_first_row() -> None:
    text, _ = written("aiperf", [CHAT[1], CHAT[1], CHAT[0]])
    names = [json.loads(line).get("session_id", "-") for line in text.splitlines()]
    assert names == [None, "-", "a"]


def test_aiperf_turns_add_up_and_wait_for_the_answer() -> None:
    text, lost = written("aiperf", CHAT, block_size=64)
    assert [json.loads(line) for line in text.splitlines()] == [
        {"timestamp": 0, "input_length": 100, "output_length": 10, "hash_ids": [0],
         "session_id": "a"},
        {"timestamp": 1000, "input_length": 80, "output_length": 4, "hash_ids": []},
        # 130 tokens are the first prompt, its answer, and 20 more.
        {"input_length": 20, "output_length": 7, "session_id": "a", "delay": 3000},
    ]  # fmt: skip
    assert not lost


def test_what_aiperf_cannot_chain_stands_alone_and_is_counted() -> None:
    rows = [
        *CHAT,
        Row(6.0, 50, 3, (9, 1), "a", 2, agent=1, after=2, delay_s=0.0, answered_s=7.0),
        Row(8.0, 150, 3, (0, 2), "a", 3, after=3, delay_s=1.0, answered_s=9.0),
        Row(9.0, 90, 3, (20, 1), "a", 4, after=4, delay_s=0.0, answered_s=9.5),
        Row(11.0, 100, 3, (20, 1), "a", 5),
    ]
    text, lost = written("aiperf", rows, block_size=64)
    found = [json.loads(line) for line in text.splitlines()][3:]
    assert [row["session_id"] for row in found] == ["a/1", "a", "a#1", "a#1"]
    # The main agent's turn comes two seconds after its own last answer, of which it knows.
    assert found[1] == {"input_length": 13, "output_length": 3, "session_id": "a", "delay": 2000}
    assert found[2]["timestamp"] == 9000
    assert found[3] == {
        "input_length": 7, "output_length": 3, "session_id": "a#1", "delay": 1500,
    }  # fmt: skip
    assert [message.split(" ", 1)[0] for message in lost] == ["1", "1", "1"]
    assert "sub-agent starts at its recorded time" in lost[0]
    assert "not for its sub-agents" in lost[1]
    assert "does not continue the prompt before it" in lost[2]


def test_a_delay_that_nobody_knows_leaves_the_time() -> None:
    rows = [Row(0.0, 100, 10, (), "a", 0), Row(5.0, 130, 7, (), "a", 1, after=0)]
    text, lost = written("aiperf", rows, names_blocks=False)
    assert json.loads(text.splitlines()[1]) == {
        "timestamp": 5000, "input_length": 20, "output_length": 7, "session_id": "a",
    }  # fmt: skip
    assert lost == ["1 turn is sent at its recorded time (or after the answer before it, if later)"]


def test_multi_turn_lines_have_a_word_for_each_token_and_share_those_of_blocks() -> None:
    rows = [*CHAT[:1], Row(0.5, 90, 3, (0, 1)), *CHAT[1:]]
    text, _ = written("aiperf-multi-turn", rows, block_size=64, seed=3)
    found = [json.loads(line) for line in text.splitlines()]
    turns = [row["turns"][0] for row in found]
    assert [len(turn["text"].split()) for turn in turns] == [100, 90, 80, 20]
    assert [turn.get("timestamp") for turn in turns] == [0, 500, 1000, None]
    assert turns[3]["delay"] == 3000
    assert [row.get("timestamp") for row in found] == [0, None, None, None]
    assert [row.get("session_id") for row in found] == ["a", None, None, "a"]
    first, second = (turn["text"].split() for turn in turns[:2])
    assert first[:64] == second[:64]
    assert first[64:90] != second[64:]
    assert written("aiperf-multi-turn", rows, block_size=64, seed=3)[0] == text
    assert written("aiperf-multi-turn", rows, block_size=64, seed=4)[0] != text


def test_azure_lines() -> None:
    text, lost = written("azure", [Row(1.5, 374, 44), Row(2.0, 396, 109)])
    assert text == (
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
        "1970-01-01 00:00:01.5000000,374,44\r\n"
        "1970-01-01 00:00:02.0000000,396,109\r\n"
    )
    assert not lost
    _, lost = written("azure", [*TWO, *CHAT])
    assert lost == [
        "4 prompts lose their block ids",
        "2 requests are no longer tied to their sessions",
        "1 request is sent at its recorded time, not after the answer it waited for",
    ]


def test_burstgpt_lines() -> None:
    text, lost = written("burstgpt", TWO)
    assert text == (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "0,ChatGPT,700,5,705,API log\n"
        "1.5,ChatGPT,1100,9,1109,API log\n"
    )
    assert lost == ["2 prompts lose their block ids"]
    text, _ = written("burstgpt", CHAT)
    assert text.splitlines()[1:] == [
        "0,a,2,ChatGPT,100,10,110,Conversation log",
        "1,,,ChatGPT,80,4,84,API log",
        "5,a,1,ChatGPT,130,7,137,Conversation log",
    ]


def test_bailian_lines() -> None:
    text, _ = written("bailian", CHAT)
    assert text.splitlines()[0] == (
        '{"chat_id": 0, "parent_chat_id": -1, "timestamp": 0.0, "input_length": 100, '
        '"output_length": 10, "type": "text", "turn": 1, "hash_ids": [0]}'
    )
    last = json.loads(text.splitlines()[2])
    assert (last["chat_id"], last["parent_chat_id"], last["turn"]) == (2, 0, 2)
    # A parent that the window left out is none.
    text, _ = written("bailian", CHAT, from_s=1.0)
    assert [json.loads(line)["parent_chat_id"] for line in text.splitlines()] == [-1, -1]


def test_a_window_and_a_limit_keep_the_times() -> None:
    text, _ = written("mooncake", [Row(t, 1, 1) for t in (7.0, 8.0, 9.0, 10.0)], from_s=1, to_s=3)
    assert [json.loads(line)["timestamp"] for line in text.splitlines()] == [8000, 9000]
    text, _ = written("mooncake", [Row(t, 1, 1) for t in (7.0, 8.0, 9.0)], limit=2)
    assert len(text.splitlines()) == 2


# --- blocks of another size ---------------------------------------------------------------------


def test_a_smaller_block_is_numbered_inside_its_own() -> None:
    assert resized((5, 2), 512, 128, 700) == (20, 6)  # 700 tokens are 6 blocks of 128
    assert resized((5, 2), 512, 512, 700) == (5, 2)


def test_a_larger_block_has_the_id_of_its_last_part() -> None:
    assert resized((10, 4, 90, 4), 64, 256, 600) == (13, 1, 93, 1)
    # Two blocks of 64 fill no block of 256, unless they are all of the prompt's end.
    assert resized((10, 4, 90, 2), 64, 256, 600) == (13, 1)
    assert resized((10, 4, 90, 2), 64, 256, 380) == (13, 1, 91, 1)
    _, lost = written(
        "mooncake", [Row(0.0, 600, 1, (10, 4, 90, 2)), Row(1.0, 380, 1, (10, 4, 90, 2))],
        block_size=256, source_block_size=64,
    )  # fmt: skip
    assert lost == [
        "1 prompt loses some block ids at their ends (blocks of 64 tokens fill no whole one of 256)"
    ]


prompts = st.lists(st.lists(st.sampled_from("abc"), min_size=0, max_size=12), max_size=12)


def chained_runs(words: list[list[str]]) -> list[Runs]:
    """Prompts of equal letters share prefixes: one id for each prefix."""
    names: dict[tuple[str, ...], int] = {}
    result = []
    for word in words:
        ids = [names.setdefault(tuple(word[: i + 1]), len(names)) for i in range(len(word))]
        runs: list[int] = []
        for block in ids:
            if runs and runs[-2] + runs[-1] == block:
                runs[-1] += 1
            else:
                runs += (block, 1)
        result.append(tuple(runs))
    return result


def spelled(runs: Runs) -> list[int]:
    return [b for i in range(0, len(runs), 2) for b in range(runs[i], runs[i] + runs[i + 1])]


@given(words=prompts, factor=st.integers(1, 5), extra=st.integers(0, 63))
def test_larger_blocks_stay_chained_and_share_what_is_shared(
    words: list[list[str]], factor: int, extra: int
) -> None:
    made = [
        resized(runs, 64, 64 * factor, 64 * len(word) + extra)
        for runs, word in zip(chained_runs(words), words, strict=True)
    ]
    chains = Chains()
    assert not any(map(chains.admit, made))
    for one, first in zip(made, words, strict=True):
        for other, second in zip(made, words, strict=True):
            same = sum(1 for _ in _common(first, second)) // factor
            assert spelled(one)[:same] == spelled(other)[:same]


@given(words=prompts, factor=st.integers(1, 5))
def test_smaller_blocks_and_back_are_the_same(words: list[list[str]], factor: int) -> None:
    for runs, word in zip(chained_runs(words), words, strict=True):
        tokens = 60 * factor * len(word)
        fine = resized(runs, 60 * factor, 60, tokens)
        back = resized(fine, 60, 60 * factor, tokens)
        assert [b // factor for b in spelled(back)] == spelled(runs)


@given(words=prompts)
def test_small_ids_share_what_is_shared(words: list[list[str]]) -> None:
    small = SmallIds()
    raw = chained_runs(words)
    far = [tuple(x if i % 2 else x + (1 << 51) for i, x in enumerate(runs)) for runs in raw]
    made = [spelled(small.renamed(runs, "s")) for runs in far]
    assert sorted({b for ids in made for b in ids}) == list(
        range(len({b for runs in raw for b in spelled(runs)}))
    )
    names: dict[int, int] = {}
    for ids, runs in zip(made, raw, strict=True):
        assert ids == [names.setdefault(b, new) for b, new in zip(spelled(runs), ids, strict=True)]


def _common(first: list[str], second: list[str]) -> Iterator[str]:
    for a, b in zip(first, second, strict=False):
        if a != b:
            return
        yield a


def test_sizes_that_do_not_divide_are_refused() -> None:
    assert target_block_size("mooncake", None, 64) == 512
    assert target_block_size("aiperf", 128, 512) == 128
    with pytest.raises(InputError, match="48 tokens neither divide the 64 tokens"):
        target_block_size("mooncake", 48, 64)
    with pytest.raises(InputError, match="azure files name no blocks"):
        target_block_size("azure", 64, None)


# --- there and back -----------------------------------------------------------------------------

lengths = st.integers(1, 5000)
stamps = st.lists(st.integers(0, 10**9), min_size=1, max_size=20).map(sorted)


@settings(deadline=None)
@given(times=stamps, sizes=st.lists(st.tuples(lengths, lengths), min_size=20, max_size=20),
       words=st.lists(st.lists(st.sampled_from("ab"), max_size=9), min_size=20, max_size=20),
       is_float=st.booleans())  # fmt: skip
def test_mooncake_to_mooncake_and_through_aiperf_is_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    times: list[int],
    sizes: list[tuple[int, int]],
    words: list[list[str]],
    is_float: bool,
) -> None:
    path = tmp_path_factory.mktemp("t") / "t.jsonl"
    text = "".join(
        json.dumps(
            {
                "timestamp": t / 8 if is_float and t % 8 else t,
                "input_length": prompt + 512 * len(word),
                "output_length": answer,
                "hash_ids": spelled(runs),
            }
        )
        + "\n"
        for t, (prompt, answer), word, runs in zip(
            sorted(times, key=lambda t: t / 8 if is_float and t % 8 else t),
            sizes, words, chained_runs(words), strict=False,
        )
    )  # fmt: skip
    path.write_text(text)
    assert converted(path, "mooncake", "mooncake") == text
    path.write_text(converted(path, "mooncake", "aiperf"))
    assert converted(path, "mooncake", "mooncake") == text


STYLES = [
    ("2023-11-16 18:15:46.{:06d}0", "\r\n"),
    ("2024-05-10T00:00:00.{:06d}", "\n"),
    ("2024-05-10 00:00:00.{:06d}+00:00", "\n"),
]


@settings(deadline=None)
@given(style=st.sampled_from(STYLES), ends_last=st.booleans(),
       micros=st.lists(st.integers(0, 999_999), min_size=1, max_size=9).map(sorted))  # fmt: skip
def test_azure_to_azure_is_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    style: tuple[str, str],
    ends_last: bool,
    micros: list[int],
) -> None:
    pattern, end = style
    rows = [f"{pattern.format(m)},{i + 1},{2 * i + 1}" for i, m in enumerate(micros)]
    text = end.join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + end * ends_last
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(text.encode())
    assert converted(path, "azure", "azure") == text


def test_the_shared_mooncake_file_comes_back_byte_for_byte(tmp_path: Path) -> None:
    path = shared("mooncake_conversation.jsonl.gz")
    with gzip.open(path) as file:
        text = file.read().decode()
    assert converted(path, "mooncake", "mooncake") == text
    through = tmp_path / "aiperf.jsonl"
    through.write_text(converted(path, "mooncake", "aiperf"))
    assert converted(through, "mooncake", "mooncake") == text


def test_the_shared_azure_file_comes_back_byte_for_byte() -> None:
    path = shared("azure_2023_conv.csv.gz")
    with gzip.open(path) as file:
        assert converted(path, "azure", "azure").encode() == file.read()


def test_what_bailian_and_burstgpt_carry_comes_back(tmp_path: Path) -> None:
    made = scenario(AGENTS, tenant("single", load={"concurrency": 2}), duration_s=40.0)
    for target, size in (("bailian", 16), ("burstgpt", 16)):
        demand = generated(made, catalog(), size, answers_after(0.5, 0.02))
        losses = Losses()
        text = "".join(lines(demand, Options(target, size), losses))
        path = tmp_path / target
        path.write_text(text)
        again = converted(path, target, target, has_sessions=True)
        if target == "burstgpt":  # the ends of answers come back as delays only
            assert "not after" not in "".join(losses.messages())
            text = re.sub(r"(?m)^([\d.]+,\d*),[\d.]*,", r"\1,,", text)
            sessions = dict.fromkeys(re.findall(r"(?m)^[\d.]+,(\d+),", text))
            for number, name in enumerate(sessions):
                text = re.sub(rf"(?m)^([\d.]+),{name},", rf"\1,#{number},", text)
            text = text.replace("#", "")
        assert again == text


def test_azure_to_mooncake_counts_from_the_first_request(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
    )
    demand = recorded(read(str(path), "azure"), "azure", has_sessions=False)
    losses = Losses()
    text = "".join(lines(demand, Options("mooncake", 512, names_blocks=False), losses))
    assert [json.loads(line)["timestamp"] for line in text.splitlines()] == [0, 4314.579]
    assert losses.messages() == ["2 arrivals count from the first one, without their dates"]


def test_agent_sessions_are_merged_by_arrival() -> None:
    path = shared("agentic_sessions.parquet")
    batches = read(str(path), "agentic", sessions=12)
    demand = recorded(batches, "agentic", has_sessions=True)
    losses = Losses()
    made = [
        json.loads(line)
        for line in lines(demand, Options("mooncake", 512, source_block_size=64), losses)
    ]
    times = [row["timestamp"] for row in made]
    assert times == sorted(times)
    chains = Chains()
    for row in made:
        ids = row["hash_ids"]
        assert len(ids) <= math.ceil(row["input_length"] / 512)
        assert chains.admit(tuple(x for block in ids for x in (block, 1))) is None or ids
    tied, cut = losses.messages()
    assert "no longer tied to their sessions" in tied
    assert "prompts lose some block ids at their ends" in cut


def records(rows: list[tuple[int, float, float, int]], **columns: Any) -> Records:
    """Sessions, times, delays and parents; 100 tokens in and 11 out."""
    sessions, times, delays, parents = map(list, zip(*rows, strict=True))
    turns = [sessions[:i].count(session) for i, session in enumerate(sessions)]
    n = len(rows)
    return Records(
        np.array(times), np.full(n, 100), np.full(n, 11), None, sessions, turns, None,
        np.array(delays), parents, **columns,
    )  # fmt: skip


def test_a_recorded_turn_without_a_time_follows_the_answer_it_waits_for() -> None:
    nan = math.nan
    batch = records([(0, 5.0, nan, -1), (0, nan, 2.0, 0), (1, 6.0, nan, -1), (1, nan, 0.5, 0)])
    demand = recorded(iter([batch]), "aiperf", has_sessions=True, ttft_s=1.0, itl_s=0.1)
    # An answer takes 1 s and 10 times 0.1 s; sessions are merged by arrival.
    assert [(row.session, row.time_s, row.after, row.answered_s) for row in demand.rows] == [
        ("0", 5.0, -1, 7.0), ("1", 6.0, -1, 8.0), ("1", 8.5, 1, 10.5), ("0", 9.0, 0, 11.0),
    ]  # fmt: skip


def test_sessions_of_aiperf_may_stand_between_each_other() -> None:
    nan = math.nan
    batch = records([(0, 5.0, nan, -1), (1, 6.0, nan, -1), (2, 7.0, nan, -1), (0, nan, 0.5, 0)])
    demand = recorded(iter([batch]), "aiperf", has_sessions=True)
    # The turn's time is known only behind session 2's first row: it comes with session 0's.
    assert [(row.session, row.time_s) for row in demand.rows] == [
        ("0", 5.0), ("1", 6.0), ("0", 6.0), ("2", 7.0),
    ]  # fmt: skip


def test_assumed_answers_give_delays_where_the_trace_states_times_alone() -> None:
    nan = math.nan
    batch = records([(0, 5.0, nan, -1), (0, 10.0, nan, 0)])
    batch.inputs = np.array([100, 150])
    for ttft_s, sent in ((None, {"timestamp": 10_000}), (2.0, {"delay": 3000})):
        demand = recorded(iter([copy(batch)]), "bailian", has_sessions=True, ttft_s=ttft_s)
        text = lines(demand, Options("aiperf", 512, names_blocks=False), Losses())
        assert [json.loads(line) for line in text][1] == {
            "input_length": 39, "output_length": 11, "session_id": "0", **sent,
        }  # fmt: skip


def test_sessions_must_start_in_order() -> None:
    batch = records([(0, 5.0, math.nan, -1), (1, 4.0, math.nan, -1)])
    with pytest.raises(InputError, match=r"session 1 starts at 4 s, after one that starts at 5 s"):
        list(recorded(iter([batch]), "aiperf", has_sessions=True).rows)


def test_block_ids_of_a_run_become_small() -> None:
    batch = records([(0, 1.0, math.nan, -1), (0, 2.0, 0.5, 0)])
    batch.blocks = [((1 << 51) + 7, 3), ((1 << 51) + 7, 4)]
    made = list(recorded(iter([batch]), "fact_requests", has_sessions=True).rows)
    assert [row.blocks for row in made] == [(0, 3), (0, 4)]


# --- a scenario ---------------------------------------------------------------------------------


AGENTS = tenant(
    "agents", input_tokens=300, shared_prefix={"tokens": 1000, "count": 2},
    load={"rate": 1.0}, session={"turns": 4, "think_time_s": 5.0, "growth": True},
)  # fmt: skip


def of_scenario(target: str, size: int, *tenants: dict[str, Any]) -> list[dict[str, Any]]:
    made = scenario(*tenants, duration_s=60.0)
    demand = generated(made, catalog(), size, answers_after(0.5, 0.02))
    text = lines(demand, Options(target, size), Losses())
    return [json.loads(line) for line in text]


def test_a_scenario_becomes_sessions_of_aiperf() -> None:
    made = of_scenario("aiperf", 64, AGENTS, tenant("single", load={"rate": 2.0}))
    sessions: dict[str, list[dict[str, Any]]] = {}
    for row in made:
        sessions.setdefault(row.get("session_id") or "", []).append(row)
    assert len(sessions.pop("")) > 60  # requests of their own
    assert any(len(turns) == 4 for turns in sessions.values())
    for first, *later in sessions.values():
        assert first["input_length"] == 1300
        assert len(first["hash_ids"]) == 20  # whole blocks of 1,300 tokens
        for row in later:
            assert row == {"input_length": 300, "output_length": 10, "delay": 5000,
                           "session_id": first["session_id"]}  # fmt: skip
    shared_blocks = {tuple(turns[0]["hash_ids"][:15]) for turns in sessions.values()}
    assert len(shared_blocks) == 2  # distinct shared prefixes of 15 whole blocks
    assert max(b for row in made for b in row.get("hash_ids", ())) < 10_000


def test_a_scenario_comes_back_as_a_trace_with_the_same_prompts(tmp_path: Path) -> None:
    made = of_scenario("mooncake", 512, AGENTS)
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    (batch,) = read(str(path), "mooncake")
    assert batch.sessions is None
    assert batch.inputs.tolist() == [row["input_length"] for row in made]
    # The first session's turns, by the prompts that continue one another.
    first = made[0]["hash_ids"]
    turns = [row for row in made if row["hash_ids"][: len(first)] == first]
    assert [row["input_length"] for row in turns] == [1300, 1610, 1920, 2230]
    for one, two in pairwise(turns):
        # 0.5 s to the first token, 9 more at 0.02 s, then 5 s of thought.
        assert two["timestamp"] - one["timestamp"] == pytest.approx(5680)


# --- writing ------------------------------------------------------------------------------------


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl.gz"
    assert write_text(str(out), ["a\n", "b\n"]) == 2
    assert gzip.decompress(out.read_bytes()) == b"a\nb\n"
    once = out.read_bytes()
    write_text(str(out), ["a\n", "b\n"])
    assert out.read_bytes() == once  # neither date nor name

    def broken() -> Iterator[str]:
        yield "c\n"
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        write_text(str(out), broken())
    assert out.read_bytes() == once
    assert [path.name for path in tmp_path.iterdir()] == ["o.jsonl.gz"]
    for bad in (tmp_path, tmp_path / "no" / "o.csv"):
        with pytest.raises(InputError, match="cannot be written"):
            write_text(str(bad), ["a"])


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/data/traces/{name}, which is not beside this checkout")
    return path
