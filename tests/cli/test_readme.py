"""The README's commands run as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factory.cli.app import app

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^    (factory .+)$", README.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("line", BLOCKS)
def test_a_command_of_the_readme_runs(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (_, *arguments) = shlex.split(line)
    trace = next((word for word in arguments if word.startswith("workload.trace.path=")), None)
    result = CliRunner().invoke(app, arguments)
    if trace is not None:
        assert "workload.trace.path: no such file" in result.stderr
    else:
        assert result.exit_code == 0, result.output


def test_there_are_commands_to_run() -> None:
    assert any("--set" in line for line in BLOCKS)
