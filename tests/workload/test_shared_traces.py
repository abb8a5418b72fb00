"""Readers on the traces of `../shared/data`, which only some checkouts have beside them."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demand import play, scenario, workload

from factory.workload import Request
from factory.workload.blocks import Chains
from factory.workload.traces import agentic
from factory.workload.traces.bad_rows import BadRows

TRACES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "traces"


def path_of(name: str) -> str:
    path = TRACES / name
    if not path.exists():
        pytest.skip(f"needs ../shared/data/traces/{name}, which is not beside this checkout")
    return str(path)


def read(kind: str, name: str, size: int, **fields: Any) -> list[Request]:
    trace = {"format": kind, "path": path_of(name), **fields}
    return play(workload(scenario({"name": "users"}, trace=trace), [size]))


def test_mooncake() -> None:
    requests = read("mooncake", "mooncake_conversation.jsonl.gz", 512)
    assert len(requests) == 12_031
    prompts = np.array([r.input_tokens for r in requests])
    answers = np.array([r.output_tokens for r in requests])
    assert (round(prompts.mean()), np.median(prompts)) == (12_035, 6_909)
    assert (round(answers.mean()), np.median(answers)) == (343, 350)
    assert 3530 < requests[-1].arrival_s < 3545
    assert all(sum(r.blocks[1::2]) == -(-r.input_tokens // 512) for r in requests)
    assert sum(len(r.blocks) for r in requests) / 2 / 12_031 == pytest.approx(2.775, abs=1e-3)
    chains = Chains()
    assert not any(chains.admit(r.blocks) for r in requests)
    gaps = np.diff([r.arrival_s for r in requests])
    assert float((gaps == 0).mean()) < 0.01
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.1)


def test_an_unbounded_cache_hits_as_the_reference_says() -> None:
    known: dict[int, int] = {}
    hits = 0
    blocks = 0
    for request in read("mooncake", "mooncake_conversation.jsonl.gz", 512, spread_s=0.0):
        hit = 0
        still = True
        for first, count in zip(request.blocks[::2], request.blocks[1::2], strict=True):
            held = known.get(first, 0)
            hit += min(held, count) if still else 0
            still = still and held >= count
            known[first] = max(held, count)
            blocks += count
        hits += hit
    assert hits / blocks == pytest.approx(0.366412, abs=1e-6)


def test_azure() -> None:
    requests = read("azure", "azure_2023_conv.csv.gz", 64)
    assert len(requests) == 19_366
    prompts = [r.input_tokens for r in requests]
    assert round(float(np.mean(prompts))) == 1155
    assert np.median(prompts) == 1020
    assert requests[0].arrival_s == 0.0
    assert 57 < requests[-1].arrival_s / 60 < 60
    gaps = np.diff([r.arrival_s for r in requests])
    assert gaps.std() / gaps.mean() == pytest.approx(1.09, abs=0.02)


@pytest.fixture(scope="module")
def sessions() -> list[Request]:
    return read("agentic", "agentic_sessions.parquet", 64, sessions=60)


def test_agentic(sessions: list[Request]) -> None:
    by_session: dict[int, list[Request]] = {}
    for request in sessions:
        by_session.setdefault(request.session, []).append(request)
    assert len(by_session) == 60
    starts = [min(r.arrival_s for r in rows) for rows in by_session.values()]
    assert sorted(starts) == [60.0 * i for i in range(60)]
    chains = Chains()
    owner: dict[int, int] = {}
    for request in sessions:
        assert chains.admit(request.blocks) is None
        assert sum(request.blocks[1::2]) in (
            request.input_tokens // 64,
            (request.input_tokens - 1) // 64,
        )
        for first in request.blocks[::2]:
            assert owner.setdefault(first, request.session) == request.session


def test_agentic_sessions_reuse_their_context(sessions: list[Request]) -> None:
    """README: the in-session cached ratio is 96.3 %; a chain of turns shows it without a cache."""
    held: dict[int, int] = {}
    hits = total = 0
    for request in sessions:
        for first, count in zip(request.blocks[::2], request.blocks[1::2], strict=True):
            hits += min(held.get(first, 0), count)
            held[first] = max(held.get(first, 0), count)
            total += count
    assert hits / total == pytest.approx(0.963, abs=0.02)


def test_every_agentic_row_is_read_in_order() -> None:
    read_sessions = list(agentic.read(BadRows(path_of("agentic_sessions.parquet")), None, None))
    assert len(read_sessions) == 710
    assert sum(len(s.inputs) for s in read_sessions) == 49_334
    waits = [d for s in read_sessions for d, a in zip(s.delays_s, s.after, strict=True) if a >= 0]
    assert min(waits) >= 0
    for session in read_sessions:
        assert session.after[0] == -1
        assert all(after < row for row, after in enumerate(session.after))
        assert all(a < session.span for runs in session.blocks for a in runs[::2])
    main_only = [s for s in read_sessions if s.after == list(range(-1, len(s.after) - 1))]
    assert len(main_only) > 400
    assert all(b - a == 1 for s in main_only for a, b in pairwise(s.after))
