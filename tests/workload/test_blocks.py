import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.workload.blocks import Chains, Runs, chained, merged, refined, trimmed


def ids(runs: Runs) -> list[int]:
    return [first + i for first, count in zip(runs[::2], runs[1::2], strict=True)
            for i in range(count)]  # fmt: skip


def runs_of(blocks: list[int]) -> Runs:
    return merged([x for block in blocks for x in (block, 1)])


def shared(a: list[int], b: list[int]) -> int:
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


def is_chained(prompts: list[list[int]]) -> bool:
    before: dict[int, int] = {}
    return all(
        before.setdefault(block, previous) == previous
        for prompt in prompts
        for previous, block in zip([-1, *prompt], prompt, strict=False)
    )


def test_merged_runs() -> None:
    assert merged((1, 2, 3, 4)) == (1, 6)
    assert merged((1, 0, 5, 2)) == (5, 2)
    assert merged((1, 2, 4, 1)) == (1, 2, 4, 1)
    assert merged(()) == ()


def test_refined_and_trimmed() -> None:
    assert refined((3, 2, 9, 1), 8) == (24, 16, 72, 8)
    assert refined((3, 2), 1) == (3, 2)
    assert trimmed((24, 16, 72, 8), 17) == (24, 16, 72, 1)
    assert trimmed((24, 16, 72, 8), 16) == (24, 16)
    assert trimmed((24, 16), 99) == (24, 16)


@pytest.mark.parametrize(
    ("earlier", "then", "problem"),
    [
        ((0, 3), (0, 2, 9, 1, 2, 1), "block 2 follows block 9 here and block 1 earlier"),
        ((0, 3, 9, 2), (0, 2, 9, 2), "block 9 follows block 1 here and block 2 earlier"),
        ((0, 3), (2, 4), "block 2 follows the start here and block 1 earlier"),
        ((0, 2, 5, 2), (0, 6), "block 5 follows block 4 here and block 1 earlier"),
        ((5, 2), (3, 4), "block 5 follows block 4 here and the start earlier"),
        ((7, 1), (0, 1, 7, 1), "block 7 follows block 0 here and the start earlier"),
        ((7, 1), (3, 1, 1, 1, 3, 2), "block 3 follows block 1 here and the start earlier"),
    ],
)
def test_ids_that_are_not_chained_are_named(earlier: Runs, then: Runs, problem: str) -> None:
    chains = Chains()
    assert chains.admit(earlier) is None
    assert chains.admit(then) == problem


def test_chained_ids_are_admitted() -> None:
    chains = Chains()
    for runs in [(0, 5), (0, 9), (0, 3), (0, 3, 20, 2), (0, 3, 20, 9), (40, 1), (), (0, 12, 30, 2)]:
        assert chains.admit(runs) is None
    assert chains.span() == 41


prompts = st.lists(st.lists(st.integers(0, 7), max_size=8, unique=True), max_size=8)


@given(prompts)
def test_the_check_sees_exactly_what_is_not_chained(blocks: list[list[int]]) -> None:
    chains = Chains()
    found = any(chains.admit(runs_of(prompt)) for prompt in blocks)
    assert found != is_chained(blocks)


@given(st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=8))
def test_renaming_chains_ids_and_keeps_what_is_shared(blocks: list[list[int]]) -> None:
    renamed = [ids(runs) for runs in chained([runs_of(prompt) for prompt in blocks])]
    assert is_chained(renamed)
    assert [len(prompt) for prompt in renamed] == [len(prompt) for prompt in blocks]
    for a, new_a in zip(blocks, renamed, strict=True):
        for b, new_b in zip(blocks, renamed, strict=True):
            assert shared(a, b) == shared(new_a, new_b)
    chains = Chains()
    assert not any(chains.admit(merged(runs_of(prompt))) for prompt in renamed)
