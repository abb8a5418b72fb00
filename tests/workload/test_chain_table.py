from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.workload.blocks import Chains, Runs, merged
from factory.workload.traces.chain_table import ChainTable
from factory.workload.traces.rename import Renamer

RUNS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), min_size=1, max_size=4).map(
    lambda pairs: merged([x for pair in pairs for x in pair])
)


@given(st.lists(RUNS, min_size=1, max_size=12))
def test_it_admits_what_chains_admit(prompts: list[Runs]) -> None:
    table, chains = ChainTable(), Chains()
    for runs in prompts:
        problem = table.admit(runs)
        # `Chains` takes in what comes before a contradiction, so the two part ways there.
        assert (problem is None) == (chains.admit(runs) is None)
        if problem:
            return
    assert table.span() == chains.span()
    assert ChainTable().admit_all(prompts)


@given(st.lists(RUNS, min_size=2, max_size=12), st.data())
def test_a_batch_is_admitted_as_its_prompts_are(prompts: list[Runs], data: Any) -> None:
    cut = data.draw(st.integers(0, len(prompts)))
    one_by_one, at_once = ChainTable(), ChainTable()
    before = all(one_by_one.admit(runs) is None for runs in prompts[:cut])
    assert at_once.admit_all(prompts[:cut]) == before
    if before:
        after = all(one_by_one.admit(runs) is None for runs in prompts[cut:])
        assert at_once.admit_all(prompts[cut:]) == after


@pytest.mark.parametrize("rising", [True, False])
def test_many_runs(rising: bool) -> None:
    starts = np.arange(0, 60_000, 3)
    if not rising:
        np.random.Generator(np.random.PCG64(1)).shuffle(starts)
    table = ChainTable()
    for part in np.split(starts, 20):
        assert table.admit_all([(int(first), 2) for first in part])
    assert table.runs == 20_000
    assert table.admit_all([(int(first), 3) for first in starts[:500]])
    assert table.admit((30, 3)) is None
    assert table.admit((31, 1)) == "block 31 follows the start here and block 30 earlier"
    assert table.admit((30, 5)) == "block 33 follows block 32 here and the start earlier"
    assert table.admit((300_000, 2, 30, 1)) == (
        "block 30 follows block 300001 here and the start earlier"
    )
    assert table.span() in (59_999, 60_000)


def test_what_is_refused_leaves_nothing_behind() -> None:
    table = ChainTable()
    assert table.admit((0, 4)) is None
    assert not table.admit_all([(10, 5), (2, 1)])
    assert table.admit((11, 2)) is None


@given(st.lists(RUNS, min_size=1, max_size=12))
def test_renamed_prompts_share_the_prefixes_they_shared(prompts: list[Runs]) -> None:
    renamer, chains = Renamer(), Chains()
    renamed = [renamer.renamed(runs) for runs in prompts]
    assert not any(map(chains.admit, renamed))
    raw = [expanded(runs) for runs in prompts]
    new = [expanded(runs) for runs in renamed]
    for a, x in zip(raw, new, strict=True):
        for b, y in zip(raw, new, strict=True):
            assert shared(a, b) == shared(x, y)


def expanded(runs: Runs) -> list[int]:
    return [
        block
        for first, count in zip(runs[::2], runs[1::2], strict=True)
        for block in range(first, first + count)
    ]


def shared(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y),
                min(len(a), len(b)))  # fmt: skip
