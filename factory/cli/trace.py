"""``factory trace``: what a trace says before anything is simulated."""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factory.scenario.routing import Router
    from factory.studies import CachePoint
    from factory.studies.prompts import Prompts

_WIDTH = 80
_NUMBER = re.compile(r"([\d_]*\d(?:\.\d+)?(?:e\d+)?)\s*([kmg%]?)", re.IGNORECASE)
_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_HEAD = ("router", "blocks", "tokens", "hit blocks", "hit tokens", "imbalance", "of misses")


@dataclass(frozen=True, slots=True)
class Asked:
    """What to study, as written on the command line.

    Attributes:
        capacities: Comma-separated; see `_capacity`.
        in_tokens: They count tokens, not blocks.
        per_worker: They are those of each worker, not of all together.
        workers: Comma-separated whole numbers.
        routers: Comma-separated, each as `router_of` reads it; None for a scenario's default.
        residence_s: Nominal residence of a request, seconds.
        prefill_s: Nominal prefill of a request, seconds.
        seed: Root of the random streams.
    """

    capacities: str
    in_tokens: bool = False
    per_worker: bool = False
    workers: str = "1"
    routers: str | None = None
    residence_s: float = 10.0
    prefill_s: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Design:
    """One row of the answer: workers, router and capacity (blocks in all; None without bound)."""

    workers: int
    label: str
    router: Router | None
    capacity: int | None


def study_caches(
    file: Path, asked: Asked, reading: Mapping[str, Any], *, out: Path | None, as_json: bool
) -> None:
    """Print hit ratios against capacity and router, as tables or as one JSON object.

    Args:
        file: The trace.
        asked: Capacities, workers and routers.
        reading: How to read the trace: the arguments of `read_prompts` after its path.
        out: CSV file for a row per point.
        as_json: Print one JSON object and nothing else.

    Raises:
        InputError: The trace, an option or the file to write cannot be used.
    """
    from factory.cli.output import print_json
    from factory.scenario.routing import Router
    from factory.studies.nominal_load import NominalLoad
    from factory.studies.prompts import distinct_blocks, read_prompts
    from factory.studies.router_choice import router_of

    # All that can be wrong with options is found before the trace is read.
    load = NominalLoad(asked.residence_s, asked.prefill_s)
    workers = _workers(asked.workers)
    texts = _parts(asked.routers) if asked.routers else [Router().policy]
    routers = {text: router_of(text, "--router") for text in texts}
    capacities = [(text, *_capacity(text)) for text in _parts(asked.capacities)]

    prompts = read_prompts(str(file), **reading)
    distinct = distinct_blocks(prompts.asks)
    designs = [
        _Design(count, label, router, capacity)
        for count in workers
        # One worker leaves a router nothing to choose.
        for label, router in (routers.items() if count > 1 else [("none", None)])
        for capacity in _in_blocks(capacities, asked, count, prompts.block_size, distinct)
    ]
    points = list(_points(designs, prompts, load, asked.seed, quiet=as_json))
    rows = [_row(file, prompts, point) for point in points]
    if out is not None:
        _write(out, rows)
    if as_json:
        about = _about(file, prompts, distinct)
        nominal = {"residence_s": load.residence_s, "prefill_s": load.prefill_s}
        print_json({**about, "seed": asked.seed, "load": nominal, "points": rows})
    else:
        _print(file, prompts, distinct, points, asked)


def _points(
    designs: Sequence[_Design], prompts: Prompts, load: Any, seed: int, *, quiet: bool
) -> Iterator[CachePoint]:
    from rich.console import Console
    from rich.progress import track

    from factory.studies import cache_study

    shown = track(
        designs,
        "cache study",
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )
    for design in shown:
        yield from cache_study(
            prompts.asks,
            [design.capacity],
            design.workers,
            design.router,
            block_size=prompts.block_size,
            name=design.label,
            load=load,
            seed=seed,
        )


def _parts(text: str) -> list[str]:
    """What stands between commas, each once, in order."""
    return list(dict.fromkeys(part.strip() for part in text.split(",")))


def _workers(text: str) -> list[int]:
    from factory.errors import InputError

    counts = []
    for part in _parts(text):
        if not part.isdecimal() or int(part) < 1:
            raise InputError(f'--workers: must be whole numbers >= 1 such as 4,8,16, got "{part}"')
        counts.append(int(part))
    return counts


def _capacity(text: str) -> tuple[float, bool]:
    """A capacity such as `50000`, `50k`, `10%` or `inf`: the number, and whether it is a share.

    Raises:
        InputError: It is none of these.
    """
    from factory.errors import InputError

    if text.casefold() == "inf":
        return math.inf, False
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise InputError(
            f'--capacity: must be numbers > 0 such as 50000, 50k, 30M, 10% or inf, got "{text}"'
        )
    value, unit = float(match[1]), match[2].casefold()
    return (value / 100, True) if unit == "%" else (value * _FACTORS[unit], False)


def _in_blocks(
    capacities: Sequence[tuple[str, float, bool]],
    asked: Asked,
    workers: int,
    block_size: int,
    distinct: int,
) -> Iterator[int | None]:
    """Capacities as blocks of all workers together.

    Raises:
        InputError: One is less than a block for each worker.
    """
    from factory.errors import InputError

    for text, value, is_share in capacities:
        if math.isinf(value):
            yield None
            continue
        blocks = value * distinct if is_share else value / (block_size if asked.in_tokens else 1)
        blocks *= workers if asked.per_worker else 1
        if blocks < workers:
            each = f" over {workers} workers" if workers > 1 and not asked.per_worker else ""
            unit = "" if is_share else " tokens" if asked.in_tokens else " blocks"
            raise InputError(
                f"--capacity: {text}{unit}{each} is less than one block of {block_size} tokens"
                f"{' each' * (workers > 1)}"
            )
        yield int(blocks)


def _about(file: Path, prompts: Prompts, distinct: int) -> dict[str, Any]:
    asks = prompts.asks
    return {
        "trace": str(file),
        "format": prompts.format,
        "block_size": prompts.block_size,
        "requests": len(asks),
        "prompt_tokens": sum(ask.input_tokens for ask in asks),
        "prompt_blocks": sum(sum(ask.blocks[1::2]) for ask in asks),
        "distinct_blocks": distinct,
    }


def _row(file: Path, prompts: Prompts, point: CachePoint) -> dict[str, Any]:
    """A point as CSV and JSON have it; a capacity without bound is infinite."""
    total, each = point.capacity_blocks, point.capacity_blocks_per_worker
    return {
        "trace": file.name,
        "router": point.router,
        "workers": point.workers,
        "capacity_blocks_total": math.inf if total is None else total,
        "capacity_blocks_per_worker": math.inf if each is None else each,
        "capacity_tokens_total": math.inf if total is None else total * prompts.block_size,
        "requests": point.requests,
        "rejected_requests": point.rejected_requests,
        "prompt_blocks": point.prompt_blocks,
        "hit_blocks": point.hit_blocks,
        "copied_blocks": point.copied_blocks,
        "prompt_tokens": point.prompt_tokens,
        "hit_tokens": point.hit_tokens,
        "hit_block_ratio": point.hit_block_ratio,
        "hit_token_ratio": point.hit_token_ratio,
        "imbalance_prompt": point.imbalance_prompt,
        "imbalance_miss": point.imbalance_miss,
    }


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows as CSV, whole or not at all."""
    from factory.errors import InputError

    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as lines:
            writer = csv.DictWriter(lines, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def _print(
    file: Path, prompts: Prompts, distinct: int, points: Sequence[CachePoint], asked: Asked
) -> None:
    from textwrap import fill

    about = _about(file, prompts, distinct)
    size = prompts.block_size
    summary = (
        f"{file.name}: {about['requests']:,} requests with {about['prompt_blocks']:,} blocks of "
        f"{size} tokens, {distinct:,} of them distinct ({_tokens(distinct * size)} tokens: one "
        "cache needs no more)"
    )
    print(fill(summary, _WIDTH))
    for workers in dict.fromkeys(point.workers for point in points):
        print(f"\n{workers} worker{'s' * (workers > 1)}")
        _table([point for point in points if point.workers == workers], size)
    notes = []
    if any(point.workers > 1 for point in points):
        notes.append(
            "imbalance: prompt blocks of the worker that got most over the mean; of misses: the "
            "same of the blocks that had to be computed. Load that routers see is nominal: a "
            f"request counts {asked.residence_s:g} s, its prefill {asked.prefill_s:g} s of these."
        )
    away = {point.router: point.rejected_requests for point in points if point.rejected_requests}
    notes += [f"{name} turned away up to {count:,} requests." for name, count in away.items()]
    for note in notes:
        print("\n" + fill(note, _WIDTH))


def _table(points: Sequence[CachePoint], block_size: int) -> None:
    """One row per point: drawn on a terminal, in plain columns elsewhere; at most 80 columns."""
    from factory.cli.output import print_columns, screen

    left = 0 if points[0].workers > 1 else 1
    stop = len(_HEAD) if points[0].workers > 1 else 5
    head = _HEAD[left:stop]
    rows = [_cells(point, block_size)[left:stop] for point in points]
    numeric = [name != "router" for name in head]
    if not sys.stdout.isatty():
        print_columns(head, rows, numeric)
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name, right in zip(head, numeric, strict=True):
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = screen()
    console.print(table, width=min(_WIDTH, console.width))


def _cells(point: CachePoint, block_size: int) -> list[str]:
    total, room = point.capacity_blocks, 18
    name = point.router if len(point.router) <= room else point.router[: room - 1] + "…"
    return [
        name,
        "inf" if total is None else f"{total:,}",
        "inf" if total is None else _tokens(total * block_size),
        f"{point.hit_block_ratio:.2%}",
        f"{point.hit_token_ratio:.2%}",
        f"{point.imbalance_prompt:.3f}",
        f"{point.imbalance_miss:.3f}",
    ]


def _tokens(count: int) -> str:
    from factory.report.figures import quantity

    return quantity(count)
