"""The terminal screen of a run: a sentence, twelve figures, power, where the GPU-seconds went."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from factory.report.figures import percent
from factory.report.ledger import GROUPS, grouped, shared_out
from factory.report.line import Line
from factory.report.lines import (
    deep_lines,
    service_lines,
    surface_lines,
    task_lines,
    what,
)
from factory.report.model import RunView
from factory.report.power_lines import cell_lines, cells_words, power_lines
from factory.report.sentence import answer, cautions, missed_targets

WIDTH = 80
_LABEL = 15
_VALUE = 22
_ACCENT = "#0072b2"
_TASKS = "Tasks: from what was asked to the answer; tokens in and out of each"


def render(run: RunView, console: Console, page: Path | None = None) -> None:
    """Print the screen of `run`, at most 80 columns wide.

    Args:
        run: What to show.
        console: Where to print.
        page: Where the page is; None for ``report.html`` in the run directory.
    """
    width = min(WIDTH, console.width)
    unicode = console.encoding.lower().startswith("utf")
    console.print()
    console.print(Text(answer(run), style="bold"), width=width)
    console.print(Text(what(run), style="dim"), width=width)
    _section(console, "Service", service_lines(run), width)
    _section(console, _TASKS, task_lines(run), width)
    _section(
        console, "On the surface: what price lists and data sheets say", surface_lines(run), width
    )
    console.print(Text(_water_line(width, unicode), style=_ACCENT), no_wrap=True, crop=True)
    _section(console, "Under the water: what this run reached", deep_lines(run), width, gap=False)
    _section(console, "Power", power_lines(run), width)
    _section(console, f"All cells: {cells_words(run)}", cell_lines(run), width)
    _ledger(console, run, width, unicode)
    notes = (*missed_targets(run), *cautions(run))
    if notes:
        console.print()
    for note in notes:
        console.print(Text(f"! {note}", style="yellow"), width=width)
    console.print()
    console.print(Text.assemble(("run directory  ", "dim"), str(run.run_dir)), soft_wrap=True)
    console.print(
        Text.assemble(("page           ", "dim"), str(page or run.run_dir / "report.html")),
        soft_wrap=True,
    )


def _section(
    console: Console, title: str, lines: tuple[Line, ...], width: int, *, gap: bool = True
) -> None:
    if not lines:
        return
    if gap:
        console.print()
    console.print(Text(title, style=f"bold {_ACCENT}"), width=width)
    for line in lines:
        row = Text.assemble(
            f"  {line.label:<{_LABEL}} ",
            (f"{line.value:<{_VALUE}} ", "bold"),
            (line.meaning, "dim"),
        )
        console.print(row, no_wrap=True, overflow="ellipsis", width=width)


def _water_line(width: int, unicode: bool) -> str:
    pattern, word = ("≈", " water line ") if unicode else ("~", " water line ")
    left = (width - len(word)) // 2
    return pattern * left + word + pattern * (width - left - len(word))


def _ledger(console: Console, run: RunView, width: int, unicode: bool) -> None:
    """The bar of GPU-seconds and its legend, two entries to a line."""
    shares = grouped(run.figures.ledger)
    if not shares:
        return
    console.print()
    console.print(Text("Where every GPU-second went", style=f"bold {_ACCENT}"), width=width)
    bar = Text("  ")
    cells = shared_out(shares, width - 4)
    for group in GROUPS:
        if group.key in cells:
            bar.append((group.glyph if unicode else group.ascii) * cells[group.key], group.colour)
    console.print(bar, no_wrap=True, width=width)
    for pair in _pairs(list(_legend(shares, unicode))):
        row = Text("  ")
        for entry in pair:
            row.append_text(entry)
            row.append(" " * max(1, (width - 4) // 2 - entry.cell_len))
        row.rstrip()
        console.print(row, no_wrap=True, width=width)


def _legend(shares: dict[str, float], unicode: bool) -> Iterator[Text]:
    for group in sorted(GROUPS, key=lambda g: -shares.get(g.key, 0.0)):
        if group.key in shares:
            glyph = group.glyph if unicode else group.ascii
            yield Text.assemble(
                (glyph * 2, group.colour), f" {percent(shares[group.key]):>6} ", group.label
            )


def _pairs(entries: list[Text]) -> Iterator[list[Text]]:
    for start in range(0, len(entries), 2):
        yield entries[start : start + 2]
