from __future__ import annotations

import io

from hypothesis import given, settings
from rich.console import Console
from views import figures, odd_views, tenant, view

from factory.report.lines import deep_lines, service_lines, surface_lines
from factory.report.model import Figures, Offer, RunView
from factory.report.outcomes import Attempts
from factory.report.power_model import Power
from factory.report.screen import render


def shown(run: RunView, *, width: int = 80, encoding: str = "utf-8") -> str:
    class File(io.StringIO):
        @property
        def encoding(self) -> str:  # type: ignore[override]
            return encoding

    file = File()
    render(run, Console(file=file, width=width, markup=False, emoji=False, highlight=False))
    return file.getvalue()


def test_the_screen_opens_with_the_answer_and_ends_with_the_run() -> None:
    lines = [line for line in shown(view()).splitlines() if line]
    assert lines[0].startswith("A million good output tokens cost $0.312")
    assert "runs/quickstart-0123456789ab" in lines[-2]
    assert lines[-1].endswith("report.html")


def test_at_most_twelve_figures_each_explained() -> None:
    lines = (*service_lines(view()), *surface_lines(view()), *deep_lines(view()))
    assert len(lines) == 12
    assert all(line.meaning and len(line.meaning) <= 39 for line in lines)


def test_surface_stands_above_the_water_line_and_depth_below() -> None:
    text = shown(view())
    water = text.index("water line")
    assert text.index("per GPU-hour") < water < text.index("per million good output tokens")
    assert text.index("PFLOPS per $") < water < text.index("Load factor")


def test_counts_say_what_they_count() -> None:
    line = " ".join(shown(view()).split())
    assert "1,000 requests in 55 min measured · 1,000 in the whole run" in line


def test_attempts_are_not_called_requests() -> None:
    line = " ".join(shown(view(figures=figures(requests=1400.0, offered=1100.0))).split())
    assert "1,000 requests in 55 min measured · 1,100 in the whole run, in 1,400 attempts" in line


def test_lower_tiers_and_gpus_given_back_are_told() -> None:
    cache = {"gpu": 0.16, "host": 0.14, "disk": 0.06, "remote": 0.0}
    text = " ".join(shown(view(figures=figures(cache=cache, gpus_provisioned=9.5))).split())
    assert "of prompts; 20% from lower tiers" in text
    assert "output, over 9.50 GPUs held (mean)" in text


def test_the_longest_figures_still_fit_their_columns() -> None:
    run = view(tenants=(tenant("x" * 60),))
    assert "…" not in shown(run)


def test_prices_say_what_they_are() -> None:
    assert "per GPU-hour, a-book-2025-10" in shown(view())
    assumed = Offer("gb200-nvl72", 72, 2.21, "assumed", None, 10.0, "dense FP4")
    assert "per GPU-hour, assumed" in shown(view(offers=(assumed,)))


def test_unpriced_runs_say_so() -> None:
    run = view(figures=figures(cost_usd=None, usd_per_mtok_output_good=None))
    assert "not priced" in shown(run)
    assert "$0" not in shown(run)


def test_an_empty_run_renders() -> None:
    run = view(figures=Figures(), tenants=(), offers=(), pools=(), models=(), timeline=None)
    assert "what binds is not known" in " ".join(shown(run).split())


def test_what_went_wrong_is_said_below_the_figures() -> None:
    run = view(
        attempts=Attempts(1000, too_long=40, shortest_tokens=33_000, sessions=12),
        truncated=3,
        power=Power(peak_kw=162.0, contracted_kw=148.0),
        skipped_rows=2,
    )
    notes = " ".join(shown(run).split())
    assert (
        "! 40 of 1,000 requests were rejected for length, the shortest prompt 33,000 tokens"
        in notes
    )
    assert "12 sessions ended with a request that was not served" in notes
    assert "! 3 answers were cut short" in notes
    assert (
        "! The facility drew 162 kW from the grid at its peak, more than the 148 kW contracted"
        in notes
    )
    assert "! 2 malformed rows of the trace were left out" in notes
    assert "!" not in shown(view())


def test_a_terminal_without_unicode_blocks_gets_letters() -> None:
    text = shown(view(), encoding="ascii")
    assert "DDDD" in text
    assert "█" not in text
    assert "≈" not in text


@settings(max_examples=60, deadline=None)
@given(odd_views)
def test_any_run_fits_eighty_columns_and_shows_no_nan(run: RunView) -> None:
    text = shown(run)
    path = str(run.run_dir)
    assert all(
        Console().render_str(line, markup=False).cell_len <= 80
        for line in text.splitlines()
        if path not in line
    )
    words = "".join(c if c.isalpha() else " " for c in text.lower()).split()
    named = " ".join([run.name, *(t.name for t in run.tenants), *(o.system for o in run.offers)])
    assert "nan" not in words or "nan" in named.lower()
