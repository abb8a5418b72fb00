from __future__ import annotations

import pytest

from factory.cli.catalog import show_catalog
from factory.errors import InputError
from factory.scenario.workloads import shipped_workloads


def test_the_list_has_a_line_for_each_workload(capsys):
    show_catalog("workloads", None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "name", "requests", "tasks", "tokens", "in", "tokens", "out", "cached", "sources",
    ]  # fmt: skip
    shown = {line.split()[0] for line in lines[1 : 1 + len(shipped_workloads())]}
    assert shown == set(shipped_workloads())
    agent = next(line for line in lines if line.startswith("coding-agent"))
    assert "97 %" in agent
    assert "fitted" in agent


def test_one_workload_shows_its_distributions_and_sources(capsys):
    show_catalog("workloads", "code-completion")
    out = capsys.readouterr().out
    assert "Completions while one types code" in out
    row = next(line for line in out.splitlines() if line.startswith("input_tokens"))
    assert row.split()[3] == "1469"
    assert "fitted (2024-06): input_tokens, output_tokens" in out
    assert "In a scenario: like: code-completion, of a tenant" in out


def test_a_mix_shows_its_shares(capsys):
    show_catalog("workloads", "mixed-2026")
    out = capsys.readouterr().out
    assert "share of requests" in out
    row = next(line for line in out.splitlines() if line.startswith("coding-agent"))
    assert row.endswith("4 %")
    assert "In a scenario: workload.use: mixed-2026" in out


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(InputError, match="did you mean reasoning"):
        show_catalog("workloads", "reasonin")


def test_the_names_of_all_include_workloads(capsys):
    show_catalog(None, None)
    assert "workloads: batch-summarisation, chat" in capsys.readouterr().out
