from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from views import figures, odd_views, pool, tenant, timeline, view

from factory.errors import RunError
from factory.report.model import Figures, Power, RunView
from factory.report.outcomes import Attempts
from factory.report.page import render_page, write_page

VOID = {"meta", "link", "br", "hr", "path"}


class Outline(HTMLParser):
    """Checks that tags close in order, and keeps attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID - {"path"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def test_the_page_asks_nothing_of_the_network() -> None:
    html = render_page(view())
    assert "http://" not in html
    assert "https://" not in html
    assert not re.search(r"url\(|@import|<script|<img|<iframe|srcset", html)
    assert "default-src 'none'" in html
    page = Outline(html)
    links = [attrs.get("href") for tag, attrs in page.tags if tag == "link"]
    assert links == ["data:,"]


def test_the_page_is_well_formed_and_says_what_matters() -> None:
    page = Outline(render_page(view()))
    assert page.open == []
    text = " ".join(page.text)
    for words in ("$0.312", "Load factor", "Where every GPU-second went", "PFLOPS per $"):
        assert words in text
    assert sum(tag == "path" for tag, _ in page.tags) >= 9


def test_ids_are_unique_and_every_label_leads_somewhere() -> None:
    tags = Outline(render_page(view())).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in tags if "aria-labelledby" in a} <= set(ids)


def test_names_are_escaped() -> None:
    hostile = "<script>alert(1)</script>\"'&"
    html = render_page(view(name=hostile, description=hostile, tenants=(tenant(hostile),)))
    assert "<script" not in html
    assert Outline(html).open == []


def test_cost_appears_only_when_priced() -> None:
    html = render_page(view(figures=figures(cost_usd=None, usd_per_mtok_output_good=None)))
    assert "Cost per million tokens, by what is counted" not in html
    assert "not priced" in html


def test_an_empty_run_renders() -> None:
    bare = view(figures=Figures(), tenants=(), offers=(), pools=(), models=(), timeline=None)
    assert Outline(render_page(bare)).open == []


@settings(max_examples=40, deadline=None)
@given(odd_views)
def test_any_run_renders_without_nan(run: RunView) -> None:
    html = render_page(run)
    assert Outline(html).open == []
    assert not re.search(r"(left|width|grow):(nan|inf)", html)


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_page(view(), path)
    assert path.read_text(encoding="utf-8").endswith("</html>\n") or path.stat().st_size > 1000
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(RunError, match="cannot write the page"):
        write_page(view(), tmp_path / "absent" / "report.html")


def test_outcomes_and_tiers_have_their_tables() -> None:
    books = Attempts(1400, retried=400, turned_away=301, timed_out=102, wasted_ratio=0.03)
    chat = dataclasses.replace(tenant(), attempts=books)
    cache = {"gpu": 0.16, "host": 0.14, "disk": 0.06, "remote": 0.0}
    run = view(tenants=(chat,), attempts=books, figures=figures(cache=cache))
    html = render_page(run)
    for words in (
        "turned away",
        "timed out",
        ">301<",
        ">102<",
        "Host memory",
        "from prefix caches",
    ):
        assert words in html
    plain = render_page(view())
    assert "GPU time wasted" not in plain
    assert "Host memory" not in plain
    assert "What happened" not in plain


def test_replicas_that_may_come_are_told() -> None:
    scaled = dataclasses.replace(pool("serve"), gpus=48, gpus_per_replica=8)
    html = render_page(view(pools=(scaled,), figures=figures(gpus_provisioned=60.0)))
    assert "2 × 8 GPUs (tp 8) at the start, at most 6" in html
    assert "GPUs given back (12.0 of 72, on average) stand in none." in html


def test_warnings_and_budgets_are_on_the_page() -> None:
    power = Power(
        peak_kw=162.0, contracted_kw=148.0, budget_kw=121.0, budgeted={"rack": (1, 110.0)}
    )
    line = dataclasses.replace(timeline(), budget_kw=121.0)
    run = view(
        power=power,
        timeline=line,
        truncated=3,
        attempts=Attempts(1000, too_long=40, shortest_tokens=33_000),
        tenants=(tenant(good=370),),
    )
    html = render_page(run)
    assert "40 of 1,000 requests were rejected for length" in html
    assert "3 answers were cut short" in html
    assert "more than the 148 kW contracted" in html
    assert "all that budgets allow 121 to 121 kW" in html
    assert "<b>110 kW</b><span>at IT, of 1 rack</span>" in html
    assert "37% (missed)" in html
    assert "s-budget" not in render_page(view()).split("</style>")[1]
