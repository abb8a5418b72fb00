"""``factory trace convert``: demand as a file for other tools."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.workload.exports import Losses, Options
    from factory.workload.exports.rows import Demand

#: What OUT's name says of its format, without a trailing `.gz`.
_BY_SUFFIX = {".jsonl": "mooncake"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What to convert and how, as written on the command line.

    Attributes:
        source: A trace, a run directory, or a scenario's path or name.
        out: The file to write; `-` for standard output.
        target: Format to write; None to tell it by the name of `out`.
        source_format: Format of a trace; None to tell it by its first row.
        limit: Rows to write at most.
        from_s: Requests before are left out, seconds after the first.
        to_s: Requests from then on are left out.
        block_size: Tokens of a block in the file; None for the format's own.
        with_sessions: Keep sessions.
        strict: Whatever is lost is an error.
        overrides: ``path=value`` settings of a scenario.
        seed: Root of the random streams; None for the scenario's.
        answer_after_s: Seconds to every answer's end.
        ttft_s: Time to first token, seconds.
        itl_s: Time between output tokens, seconds.
        skip_bad_rows: Malformed rows to leave out.
    """

    source: str
    out: str
    target: str | None = None
    source_format: str | None = None
    limit: int | None = None
    from_s: float | None = None
    to_s: float | None = None
    block_size: int | None = None
    with_sessions: bool = True
    strict: bool = False
    overrides: Sequence[str] = ()
    seed: int | None = None
    answer_after_s: float | None = None
    ttft_s: float | None = None
    itl_s: float | None = None
    skip_bad_rows: int = 0


def convert(asked: Asked) -> None:
    """Write a source's demand in another format; say on standard error what it cannot carry.

    Args:
        asked: What and how.

    Raises:
        FactoryError: The source, an option or the file to write cannot be used; with `strict`,
            something is lost. Then nothing is written.
    """
    from factory.cli.failures import say
    from factory.workload.exports import Losses, lines
    from factory.workload.exports.writer import write_text

    target = _target(asked)
    _check_window(asked)
    is_trace = _is_trace(asked)
    read = _from_trace if is_trace else _from_scenario
    demand, options = read(asked, target)
    losses = Losses()
    text = lines(demand, options, losses)
    write_text(asked.out, _strictly(text, losses, asked) if asked.strict else text)
    for message in losses.messages():
        say(f"note: {message}")


def _strictly(text: Iterator[str], losses: Losses, asked: Asked) -> Iterator[str]:
    """The text of a file, and an error behind it if anything was lost."""
    from factory.errors import InputError

    yield from text
    lost = losses.messages()
    if lost:
        raise InputError(
            f"{asked.out}: not all of {asked.source} can be kept: {'; '.join(lost)} "
            "(without --strict it is written all the same)"
        )


def _target(asked: Asked) -> str:
    """Name of the format to write."""
    from factory.errors import InputError
    from factory.workload.exports import TARGETS

    allowed = ", ".join(TARGETS)
    if asked.target is None:
        found = _BY_SUFFIX.get(Path(asked.out.removesuffix(".gz")).suffix)
        if found is None:
            raise InputError(f"--to: {asked.out} does not tell the format (allowed: {allowed})")
        return found
    if asked.target not in TARGETS:
        close = difflib.get_close_matches(asked.target, TARGETS, 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise InputError(f'--to: no such format, got "{asked.target}" (allowed: {allowed}{meant})')
    return asked.target


def _check_window(asked: Asked) -> None:
    from factory.errors import InputError

    if asked.to_s is not None and asked.to_s <= (asked.from_s or 0.0):
        raise InputError(
            f"--to-s: must be after --from-s ({asked.from_s or 0:g} s), got {asked.to_s:g}"
        )


def _is_trace(asked: Asked) -> bool:
    """Whether the source is recorded; else it is a scenario, by path or name."""
    from factory.errors import InputError

    place = Path(asked.source)
    is_yaml = place.suffix in {".yaml", ".yml"}
    if asked.source_format is None and (is_yaml or not place.exists()):
        if is_yaml or len(place.parts) == 1:
            return False
        raise InputError(f"{asked.source}: no such trace, run or scenario")
    if asked.overrides:
        raise InputError(
            f"--set {asked.overrides[0]}: is for a scenario; {asked.source} is recorded"
        )
    return True


def _from_trace(asked: Asked, target: str) -> tuple[Demand, Options]:
    from factory.errors import InputError
    from factory.workload.exports import Options, target_block_size
    from factory.workload.exports.azure import Style, style_of
    from factory.workload.exports.recorded import recorded
    from factory.workload.traces.detect import SIGNS, detect
    from factory.workload.traces.records import read

    kind = asked.source_format or detect(asked.source)
    if kind not in SIGNS:
        close = difflib.get_close_matches(kind, SIGNS, 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise InputError(
            f'--format: no such format, got "{kind}" (allowed: {", ".join(SIGNS)}{meant})'
        )
    batches = read(asked.source, kind, skip_bad_rows=asked.skip_bad_rows, seed=asked.seed or 0)
    first = next(batches, None)
    if first is None:
        raise InputError(f"{asked.source}: the trace is empty")
    ttft_s, itl_s = _answers(asked)
    demand = recorded(
        chain([first], batches), kind,
        has_sessions=first.sessions is not None, ttft_s=ttft_s, itl_s=itl_s,
    )  # fmt: skip
    size = target_block_size(target, asked.block_size, first.block_size)
    style = style_of(asked.source) if target == kind == "azure" else Style()
    return demand, Options(
        target,
        size,
        names_blocks=first.block_size is not None,
        asks_blocks=kind == "fact_requests",
        source_block_size=first.block_size,
        with_sessions=asked.with_sessions,
        from_s=asked.from_s,
        to_s=asked.to_s,
        limit=asked.limit,
        style=style,
        seed=asked.seed or 0,
    )


def _from_scenario(asked: Asked, target: str) -> tuple[Demand, Options]:
    from factory.errors import InputError
    from factory.scenario import catalog_of, load
    from factory.scenario.resolve import TRACE_BLOCK_SIZE
    from factory.workload.exports import Options, target_block_size
    from factory.workload.exports.generated import generated
    from factory.workload.generate import answers_after

    for flag, value in (
        ("--format", asked.source_format),
        ("--skip-bad-rows", asked.skip_bad_rows),
    ):
        if value:
            raise InputError(f"{flag}: is for a trace; {asked.source} is a scenario")
    scenario = load(asked.source, asked.overrides, asked.seed)
    trace = scenario.workload.trace
    hashed = TRACE_BLOCK_SIZE.get(trace.format) if trace is not None else None
    size = target_block_size(target, asked.block_size, None)
    # A trace of larger blocks is refined by the workload, one of smaller ones coarsened here.
    made = size if hashed is None or hashed % size == 0 else hashed
    target_block_size(target, size if made != size else asked.block_size, hashed)
    ttft_s, itl_s = _answers(asked)
    answer_s = answers_after(ttft_s or 0.0, itl_s or 0.0)
    demand = generated(scenario, catalog_of(scenario), made, answer_s)
    return demand, Options(
        target,
        size,
        source_block_size=made,
        with_sessions=asked.with_sessions,
        from_s=asked.from_s,
        to_s=asked.to_s,
        limit=asked.limit,
        seed=scenario.run.seed,
    )


def _answers(asked: Asked) -> tuple[float | None, float | None]:
    """Time to first token and between tokens of the answers that are assumed, seconds, if any."""
    from factory.errors import InputError

    if asked.answer_after_s is None:
        return asked.ttft_s, asked.itl_s
    if asked.ttft_s is not None or asked.itl_s is not None:
        raise InputError("--answer-after: give it or --ttft and --itl, not both")
    return asked.answer_after_s, 0.0
