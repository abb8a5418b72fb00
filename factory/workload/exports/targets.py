"""What the formats of others hold, and the text of a file in one of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from factory.errors import InputError
from factory.workload.exports import aiperf, azure, bailian, burstgpt, mooncake
from factory.workload.exports.chunks import coarsened_loss, loses_ids, resized
from factory.workload.exports.rows import SESSION, UNNAMED, Demand, Losses, Row, from_first


@dataclass(frozen=True, slots=True)
class Target:
    """A format that can be written.

    Attributes:
        about: What it is, in a few words.
        block_size: Tokens of a block by which the format counts; None if it names no blocks.
    """

    about: str
    block_size: int | None


#: By the name that ``--to`` takes.
TARGETS = {
    "mooncake": Target("Mooncake JSON lines, whole prompts", mooncake.BLOCK_SIZE),
    "aiperf": Target("AIPerf mooncake_trace JSON lines, turns add up", aiperf.BLOCK_SIZE),
    "aiperf-multi-turn": Target("AIPerf multi_turn JSON lines, made-up words", aiperf.BLOCK_SIZE),
    "azure": Target("Azure CSV", None),
    "burstgpt": Target("BurstGPT CSV", None),
    "bailian": Target("Qwen-Bailian JSON lines", bailian.BLOCK_SIZE),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What to write.

    Attributes:
        target: A name of `TARGETS`.
        block_size: Tokens of a block in the file.
        names_blocks: Whether the source names blocks.
        asks_blocks: Whether the source's prompts shared blocks that it does not name.
        source_block_size: Tokens of a block of the source; None if it is as in the file.
        with_sessions: Whether to keep sessions; without, every request stands alone at its time.
        from_s: Requests before are left out, seconds after the first; None keeps all.
        to_s: Requests from then on are left out.
        limit: Rows at most.
        style: Spelling of an Azure file.
        seed: Root of the streams that draw words.
    """

    target: str
    block_size: int
    names_blocks: bool = True
    asks_blocks: bool = False
    source_block_size: int | None = None
    with_sessions: bool = True
    from_s: float | None = None
    to_s: float | None = None
    limit: int | None = None
    style: azure.Style = field(default_factory=azure.Style)
    seed: int = 0


def target_block_size(target: str, wanted: int | None, source: int | None) -> int:
    """Returns the tokens of a block in a file, or says that the source's cannot become it.

    Args:
        target: A name of `TARGETS`.
        wanted: As asked for; None for the format's own.
        source: Tokens of a block of the source; None if it names none, or makes any.

    Raises:
        InputError: The format names no blocks, or neither size divides the other.
    """
    own = TARGETS[target].block_size
    if own is None:
        if wanted is not None:
            raise InputError(f"--block-size: {target} files name no blocks; leave it out")
        return source or 16
    size = wanted or own
    if source is not None and size % source and source % size:
        divisors = ", ".join(str(d) for d in range(1, source + 1) if source % d == 0)
        raise InputError(
            f"--block-size: {size} tokens neither divide the {source} tokens of the source's "
            f"blocks nor are a multiple of them (allowed: {divisors}, {2 * source}, …)"
        )
    return size


def lines(demand: Demand, options: Options, losses: Losses) -> Iterator[str]:
    """Yields the text of a file, piece by piece.

    Args:
        demand: What to write; used up.
        options: How.
        losses: Counts what the format cannot carry.
    """
    demand.rows = _numbered(demand.rows)
    if demand.is_calendar and options.target != "azure":
        demand.rows = from_first(demand.rows, losses)
    if options.from_s is not None or options.to_s is not None:
        demand.rows = _window(demand.rows, options.from_s or 0.0, options.to_s)
    if options.limit is not None:
        demand.rows = islice(demand.rows, options.limit)
    keeps_sessions = options.with_sessions and options.target != "mooncake"
    if demand.has_sessions and not keeps_sessions:
        demand.rows = _alone(demand.rows, losses)
        demand.has_sessions = False
    if options.asks_blocks and not options.names_blocks and TARGETS[options.target].block_size:
        demand.rows = _unnamed(demand.rows, losses)
    source = options.source_block_size
    if source is not None and source != options.block_size:
        demand.rows = _resized(demand.rows, source, options.block_size, losses)
    return _written(demand, options, losses)


def _written(demand: Demand, options: Options, losses: Losses) -> Iterator[str]:
    if options.target == "azure":
        return azure.lines(demand.rows, losses, options.style)
    if options.target == "burstgpt":
        return burstgpt.lines(demand.rows, losses, has_sessions=demand.has_sessions)
    if options.target == "bailian":
        return bailian.lines(demand, losses)
    if options.target == "mooncake":
        return mooncake.lines(demand, losses, names_blocks=options.names_blocks)
    if options.target == "aiperf":
        return aiperf.trace_lines(
            demand, losses, options.block_size, names_blocks=options.names_blocks
        )
    return aiperf.multi_turn_lines(demand, losses, options.block_size, options.seed)


def _numbered(rows: Iterator[Row]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        row.number = number
        yield row


def _window(rows: Iterator[Row], from_s: float, to_s: float | None) -> Iterator[Row]:
    origin: float | None = None
    end_s = math.inf if to_s is None else to_s
    at = 0.0
    is_empty = True
    for row in rows:
        if origin is None:
            origin = row.time_s
        at = row.time_s - origin
        if at >= end_s:
            break
        if at >= from_s:
            is_empty = False
            yield row
    if is_empty:
        raise InputError(f"--from-s: no request comes in this window; the last one is at {at:g} s")


def _alone(rows: Iterator[Row], losses: Losses) -> Iterator[Row]:
    for row in rows:
        if row.session is not None:
            losses.count(SESSION)
            row.session, row.turn, row.agent, row.after = None, 0, 0, -1
            row.delay_s = math.nan
        yield row


def _unnamed(rows: Iterator[Row], losses: Losses) -> Iterator[Row]:
    for row in rows:
        losses.count(UNNAMED)
        yield row


def _resized(rows: Iterator[Row], size: int, target: int, losses: Losses) -> Iterator[Row]:
    loss = coarsened_loss(size, target)
    for row in rows:
        blocks = resized(row.blocks, size, target, row.input_tokens)
        if loses_ids(row.blocks, size, target) and sum(blocks[1::2]) * target < row.input_tokens:
            losses.count(loss)
        row.blocks = blocks
        yield row
