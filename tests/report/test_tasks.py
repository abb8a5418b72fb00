"""Tasks on the screen and on the page: there where sessions have several requests, else not."""

from __future__ import annotations

import io
from pathlib import Path

import hand_made_run as by_hand
from rich.console import Console
from views import view

from factory.economics import summarize
from factory.report.lines import task_lines
from factory.report.model import Quantiles, RunView, Tasks
from factory.report.page import render_page
from factory.report.screen import render
from factory.report.view import load_view

AGENT = Tasks(
    "coding-agent-of-the-night",
    1234,
    1200,
    1180,
    Quantiles(60e3, 41e3, 180.4e3, 600e3),
    14.62,
    1.23e6,
    3210.0,
    0.01234,
    0.0129,
)


def shown(run: RunView) -> list[str]:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    render(run, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_screen_has_two_lines_for_each_tenant() -> None:
    lines = shown(view(tasks=(AGENT,)))
    start = lines.index("Tasks: from what was asked to the answer; tokens in and out of each")
    assert lines[start + 1] == (
        "  coding-agent-of 41.0 / 180 / 600 s     p50 / p90 / p99; 95.6% of 1,234 good"
    )
    assert lines[start + 2].strip() == ("$0.0123 a task         14.6 requests, 1.23M in, 3.21k out")
    assert max(map(len, lines)) <= 80


def test_without_sessions_there_is_nothing_of_tasks() -> None:
    assert not any("Tasks" in line for line in shown(view()))
    assert 'id="tasks"' not in render_page(view())


def test_the_page_has_a_table() -> None:
    page = render_page(view(tasks=(AGENT, Tasks("<b>", 1, 0, 0, Quantiles()))))
    assert '<h2 id="tasks">Tasks</h2>' in page
    assert "coding-agent-of-the-night" in page
    assert "&lt;b&gt;" in page
    assert "$0.0129" in page


def test_a_run_shows_tenants_with_sessions(tmp_path: Path) -> None:
    run = by_hand.write(tmp_path / "run")
    made = load_view(run, summarize(run))
    [tasks] = made.tasks
    assert (tasks.tenant, tasks.number, tasks.completed, tasks.good) == ("agent", 2, 1, 1)
    assert (tasks.good_ratio, tasks.input_tokens, tasks.span.p50) == (0.5, 500.0, 2500.0)
    assert len(task_lines(made)) == 2
    assert load_view(run, {}).tasks == ()
