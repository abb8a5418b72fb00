"""What of an engine's reach a table of step times covers, and grids that cover all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.performance.step_table import Row, StepTable, table_of
from factory.performance.work import RankWork

if TYPE_CHECKING:
    from factory.performance.step_model import StepModel

NOISE = 0.05
"""How far a time may fall below that of a smaller step and still be noise of measurement."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one rank of an engine can be asked for.

    Attributes:
        sequences: Sequences in a batch.
        batched_tokens: Tokens in a step.
        model_len: Tokens of a sequence, prompt and output.
        kv_tokens: Tokens that its KV cache holds.
    """

    sequences: int
    batched_tokens: int
    model_len: int
    kv_tokens: int


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A limit of the engine that reaches beyond a table.

    Attributes:
        field: The limit's name in the scenario's engine.
        message: What is beyond what.
        got: The limit.
        allowed: What the table reaches.
    """

    field: str
    message: str
    got: int
    allowed: int


def shortfalls(table: StepTable, limits: Limits, role: str) -> Iterator[Shortfall]:
    """Where the engine can go beyond the last row of a table.

    A step before the first row takes the first row's time, which is no shortfall except for
    batches: a decode table must begin at batch 1, or claims that small batches are as slow.

    Args:
        table: Measured steps.
        limits: Of one rank.
        role: ``prefill``, ``decode`` or ``aggregated``: which of the phases matter.
    """
    if role != "prefill" and table.decode:
        yield from _decode_shortfalls(table, limits)
    if role != "decode" and table.prefill:
        new = max(row.batch * row.context for row in table.prefill)
        most = min(limits.batched_tokens, limits.sequences * limits.model_len)
        if most > new:
            message = f"prefill rows reach {new} new tokens per step"
            yield Shortfall("max_num_batched_tokens", message, most, new)
        longest = max(row.context + row.cached for row in table.prefill)
        if limits.model_len > longest:
            message = f"prefill rows reach prompts of {longest} tokens, cached ones included"
            yield Shortfall("max_model_len", message, limits.model_len, longest)


def _decode_shortfalls(table: StepTable, limits: Limits) -> Iterator[Shortfall]:
    batch = max(row.batch for row in table.decode)
    if limits.sequences > batch:
        message = f"decode rows reach batch {batch}"
        yield Shortfall("max_num_seqs", message, limits.sequences, batch)
    longest = max(row.context for row in table.decode)
    if limits.model_len > longest:
        message = f"decode rows reach context {longest}"
        yield Shortfall("max_model_len", message, limits.model_len, longest)
    kv = max(row.batch * row.context for row in table.decode)
    most = min(limits.kv_tokens, limits.sequences * limits.model_len)
    if most > kv and limits.sequences <= batch and limits.model_len <= longest:
        message = f"decode rows reach {kv} KV tokens per step (batch x context)"
        yield Shortfall("kv_capacity_tokens", message, most, kv)
    first = min(row.batch for row in table.decode)
    if first > 1:
        message = f"decode rows begin at batch {first}; batches from 1 on will be asked for"
        yield Shortfall("step_model.path", message, 1, first)


def geometric(first: int, last: int, factor: float) -> list[int]:
    """Whole numbers from ``first`` to ``last``, both in, each about so many times the last."""
    numbers = []
    value = float(first)
    while value < last:
        numbers.append(round(value))
        value = max(value * factor, round(value) + 1.0)
    return [*numbers, max(last, first)]


def decode_grid(limits: Limits) -> Iterator[tuple[int, int]]:
    """(batch, context) of decode steps that cover an engine's reach."""
    for batch in geometric(1, limits.sequences, 2**0.25):
        for context in geometric(min(64, limits.model_len), limits.model_len, 2.0):
            yield batch, context


def prefill_grid(limits: Limits) -> Iterator[tuple[int, int, int]]:
    """(batch, new tokens each, cached tokens each) of prefill steps that do."""
    most = min(limits.batched_tokens, limits.sequences * limits.model_len)
    for new in geometric(min(16, most), most, 2**0.5):
        for batch in (4, 16):
            if new >= 16 * batch and new // batch <= limits.model_len:
                yield batch, new // batch, 0
        if new <= limits.model_len:
            yield 1, new, 0
            room = limits.model_len - new
            for cached in geometric(512, room, 2.0) if room > 512 else ():
                yield 1, new, cached


def sampled(
    limits: Limits,
    decode: Callable[[int, int], float] | None,
    prefill: Callable[[int, int, int], float] | None,
    source: str,
) -> StepTable:
    """A table on these grids.

    Args:
        limits: What it must cover.
        decode: Milliseconds of (batch, context); None for no such rows.
        prefill: Milliseconds of (batch, new tokens each, cached tokens each); None for none.
        source: Where they come from.
    """
    rows = []
    if decode is not None:
        rows += [Row("decode", b, c, 0, decode(b, c)) for b, c in decode_grid(limits)]
    if prefill is not None:
        rows += [Row("prefill", b, n, c, prefill(b, n, c)) for b, n, c in prefill_grid(limits)]
    return table_of(source, rows)


def completed(table: StepTable, shape: StepModel, limits: Limits, ranks: int) -> StepTable:
    """The table with a phase that it lacks altogether taken from another step model."""

    def decode(batch: int, context: int) -> float:
        work = RankWork(decode=batch, context=batch * context, logit_rows=batch)
        return shape.plan([work] * ranks, 1.0, 1).base_s * 1e3

    def prefill(batch: int, new: int, cached: int) -> float:
        pairs = batch * (new * cached + new * (new + 1) / 2)
        read = batch * (new + cached)
        work = RankWork(0, 0, batch * new, pairs, 0.0, read, 0, batch)
        return shape.plan([work] * ranks, 1.0, 1).base_s * 1e3

    more = sampled(
        limits,
        None if table.decode else decode,
        None if table.prefill else prefill,
        table.source,
    )
    return StepTable(table.source, table.decode or more.decode, table.prefill or more.prefill)
