"""``factory trace inspect``: what a trace says about its demand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.cli.trace_reading import Reading, counted, format_of, part_of, records_of

_WIDTH = 80
_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = ("p1", "p10", "p50", "p90", "p99", "p999", "max")
_TIMES_SHOWN = ("p10", "p50", "p90", "p99")
#: A prefix of fewer prompts is not worth a line.
_TOLD_SHARE = 0.05


def inspect_trace(file: Path, reading: Reading, *, page: Path | None, as_json: bool) -> None:
    """Print the statistics of a trace, as text or as one JSON object.

    Args:
        file: The trace.
        reading: How to read it.
        page: HTML page to write as well.
        as_json: Print one JSON object and nothing else.

    Raises:
        InputError: The trace or an option cannot be used.
        RunError: The page cannot be written.
    """
    from factory.cli.output import print_json

    facts = facts_of(file, reading, quiet=as_json)
    if page is not None:
        from factory.report.trace_page import write_trace_page

        write_trace_page(facts, page)
    if as_json:
        print_json(facts)
        return
    show(told(facts))
    if page is not None:
        print(f"\nPage: {page}")


def facts_of(file: Path, reading: Reading, *, quiet: bool) -> dict[str, Any]:
    """The statistics of a trace, with its name and format.

    Raises:
        InputError: The trace or an option cannot be used.
    """
    from factory.studies.trace_clock import Part
    from factory.studies.trace_inspect import inspect

    kind = format_of(file, reading.format)
    part = part_of(reading, Part)
    found = inspect(counted(records_of(file, kind, reading), quiet=quiet), kind, part)
    return {
        "trace": str(file),
        "format": kind,
        "from_s": reading.from_s,
        "to_s": reading.to_s,
        **found,
    }


def told(facts: Mapping[str, Any]) -> Iterator[str | Grid]:
    """The statistics as lines and tables of at most 80 columns."""
    from factory.report.figures import duration, plural, significant

    time = facts["time"]
    over = f" over {duration(time['duration_s'])}" if time else ""
    yield _cut(f"{Path(facts['trace']).name} ({facts['format']}): {facts['rows']:,} requests{over}")
    if time:
        window = duration(time["window_s"])
        yield ""
        yield from _pairs(
            (
                ("rate", _rate(time, facts["rows"])),
                ("peak to mean", f"{time['peak_to_mean']:.2f} in windows of {window}"),
                ("CV of gaps", _gaps(time)),
            )
        )
        yield from _sparks(time)
    yield ""
    yield from _lengths(facts)
    tokens = facts["tokens"]
    ratio = tokens["input_per_output"]
    if ratio is not None:
        yield f"{significant(ratio)} input tokens for each output token"
    if facts["sessions"]:
        yield ""
        yield from _sessions(facts["sessions"])
    yield ""
    if facts["reuse"]:
        yield from _reuse(facts["reuse"])
    else:
        yield "The trace names no blocks, so it does not say what prompts share."
    skipped = facts.get("skipped_rows")
    if skipped:
        yield f"{plural(skipped, 'malformed row')} left out"


def _pairs(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    from textwrap import wrap

    for name, value in pairs:
        first, *rest = wrap(value, _WIDTH - 16) or [""]
        yield f"{name:<14}  {first}"
        yield from (" " * 16 + line for line in rest)


def _rate(time: Mapping[str, Any], rows: int) -> str:
    from factory.report.figures import significant

    rate, timed = time["rate_per_s"], time["timed_requests"]
    if not rate:
        return "all at one instant"
    alone = "" if timed == rows else f" of the {timed:,} that state a time; others follow answers"
    return f"{significant(rate)} requests/s{alone}"


def _gaps(time: Mapping[str, Any]) -> str:
    cv, within = time["gap_cv"], time["gap_cv_within_windows"]
    if cv is None:
        return "none: fewer than two instants"
    text = f"{cv:.2f} (Poisson: 1)"
    if within is not None:
        text += f", {within:.2f} within windows"
    if time["clock_tick_s"]:
        text += (
            f"; the clock ticks every {time['clock_tick_s']:g} s, so arrivals were spread at "
            f"random within ticks (as recorded: {time['gap_cv_as_recorded']:.2f})"
        )
    return text


def _sparks(time: Mapping[str, Any]) -> Iterator[str]:
    """Rate and gap CV over time, drawn where the output has the characters."""
    from factory.cli.output import has_unicode
    from factory.report.figures import significant

    if not has_unicode(sys.stdout.encoding) or len(time["windows"]) < 3:
        return
    for name, key in (("rate over time", "rate_per_s"), ("CV over time", "gap_cv")):
        values = [window[key] for window in time["windows"]]
        known = [value for value in values if value is not None]
        if known:
            line = "".join(
                " " if value is None else _BARS[min(7, int(8 * value / max(*known, 1e-12)))]
                for value in values
            )
            yield f"{name:<14}  {line}"
            yield " " * 16 + f"{significant(min(known))} to {significant(max(known))}"


def _lengths(facts: Mapping[str, Any]) -> Iterator[str | Grid]:
    from factory.report.figures import quantity

    rows = []
    for name, key in (("input", "input_tokens"), ("output", "output_tokens")):
        found = facts[key]
        cells = [_count(found[share]) for share in _SHOWN]
        rows.append([name, _count(found["mean"]), *cells, quantity(float(found["total"]))])
    head = ["tokens", "mean", *(_share(share) for share in _SHOWN), "total"]
    grid = Grid(head, rows)
    # Million-token prompts leave no room for all: the first quantile goes.
    yield grid if grid.width <= _WIDTH else grid.without(2)


def _sessions(sessions: Mapping[str, Any]) -> Iterator[str | Grid]:
    per = sessions["requests_per_session"]
    singles = sessions["single_requests"]
    alone = f", and {singles:,} requests in none" if singles else ""
    yield f"{sessions['count']:,} sessions{alone}"
    rows = []
    for name, key in (
        ("requests per session", per),
        ("first input, tokens", sessions["first_input_tokens"]),
        ("growth per request, tokens", sessions["growth_tokens"]),
    ):
        if key:
            rows.append([name, _count(key["mean"]), *(_count(key[p]) for p in _TIMES_SHOWN)])
    for name, key in (
        ("session, s", "duration_s"),
        ("request to request, s", "request_to_request_s"),
        ("answer to request, s", "answer_to_request_s"),
        ("  after a tool call, s", "answer_to_request_in_task_s"),
        ("  after a task's end, s", "answer_to_next_task_s"),
    ):
        found = sessions[key]
        # All waits are between tasks where no task has several requests.
        if found and (sessions["answer_to_request_in_task_s"] or not name.startswith(" ")):
            rows.append([name, _time(found["mean"]), *(_time(found[p]) for p in _TIMES_SHOWN)])
    yield Grid(["sessions", "mean", *_TIMES_SHOWN], rows)
    if sessions["shrunk_requests"]:
        yield f"{sessions['shrunk_requests']:,} prompts are shorter than the one before"


def _reuse(reuse: Mapping[str, Any]) -> Iterator[str | Grid]:
    from factory.report.figures import percent, quantity, scaled

    size, rate = reuse["block_size"], reuse["sampling_rate"]
    how = "exact" if rate == 1 else f"sampled by SHARDS at a rate of {rate:g}"
    tokens, blocks = reuse["ideal_hit_token_ratio"], reuse["ideal_hit_block_ratio"]
    cached = (
        f"{percent(tokens)} of the prompt tokens hit a cache without bound ({percent(blocks)} of "
        f"the blocks; {how})"
    )
    total, distinct = float(reuse["blocks"]), float(reuse["distinct_blocks"])
    counts = f"{quantity(total)} of {size} tokens, {quantity(distinct)} of them distinct"
    yield from _pairs((("reuse", cached), ("blocks", counts)))
    shared = [
        prefix
        for prefix in reuse["shared_prefixes"]
        if prefix["blocks"] and prefix["prompt_ratio"] >= _TOLD_SHARE
    ]
    if shared:
        top = shared[0]
        of = "sessions" if reuse["by_session"] else "prompts"
        words = f"{top['tokens']:,} tokens, in {percent(top['prompt_ratio'])} of the {of}"
        yield from _pairs((("shared prefix", words),))
    rows = [
        [
            scaled(point["capacity_blocks"]),
            scaled(point["capacity_tokens"]),
            f"{point['hit_block_ratio']:.2%}",
            f"{point['hit_token_ratio']:.2%}",
        ]
        for point in _told_sizes(reuse["curve"])
    ]
    yield ""
    yield Grid(["cache blocks", "tokens", "hit blocks", "hit tokens"], rows, left=0)
    if reuse["sessions_interleaved"]:
        yield "Sessions have no common clock: one starts every 60 s here."


def _told_sizes(curve: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most nine sizes: 1 and 3 times powers of ten, and the largest that helps."""
    round_ones = [
        point for point in curve[:-1] if f"{point['capacity_blocks']:.0f}".rstrip("0") in {"1", "3"}
    ]
    return [*round_ones[-8:], curve[-1]]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table; its first `left` columns line up at the left, the others at the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1

    @property
    def width(self) -> int:
        """Columns of the screen that it takes."""
        widths = (
            max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))
        )
        return sum(widths) + 2 * (len(self.head) - 1)

    def without(self, column: int) -> Grid:
        """The table without a column."""

        def cut(row: Sequence[str]) -> list[str]:
            return [cell for i, cell in enumerate(row) if i != column]

        return Grid(cut(self.head), [cut(row) for row in self.rows], self.left)


def show(parts: Iterable[str | Grid]) -> None:
    """Print lines and tables: tables drawn on a terminal, in plain columns elsewhere."""
    from factory.cli.output import print_columns, screen

    for part in parts:
        if isinstance(part, str):
            print(part)
            continue
        numeric = [i >= part.left for i in range(len(part.head))]
        if not sys.stdout.isatty():
            print_columns(part.head, part.rows, numeric)
            continue
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for name, right in zip(part.head, numeric, strict=True):
            table.add_column(name, justify="right" if right else "left", no_wrap=True)
        for row in part.rows:
            table.add_row(*row)
        console = screen()
        console.print(table, width=min(_WIDTH, console.width))


def _share(name: str) -> str:
    return "p99.9" if name == "p999" else name


def _count(value: float) -> str:
    from factory.report.figures import quantity, trimmed

    if value < 100:
        return trimmed(value)
    return f"{value:,.0f}" if value < 1e6 else quantity(value)


def _time(value: float) -> str:
    from factory.report.figures import quantity, significant

    return quantity(value) if value >= 1e6 else significant(value)


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else "…" + text[1 - _WIDTH :]
