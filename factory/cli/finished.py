"""Whether a directory holds a finished run."""

from __future__ import annotations

from pathlib import Path

from factory.errors import InputError


def finished_run(run_dir: Path) -> Path:
    """The directory, when it holds a finished run.

    Raises:
        InputError: It does not exist, is not a run, or belongs to a run that did not finish.
    """
    from factory.records.run_directory import read_manifest

    if not run_dir.exists():
        raise InputError(f"{run_dir}: no such run directory{_nearest(run_dir)}")
    read_manifest(run_dir)
    return run_dir


def _nearest(run_dir: Path) -> str:
    """The name of a run beside it that is probably meant."""
    from difflib import get_close_matches

    parent = run_dir.parent
    if not parent.is_dir():
        return ""
    names = sorted(path.name for path in parent.iterdir() if (path / "run.json").is_file())
    close = get_close_matches(run_dir.name, names, n=1, cutoff=0.5)
    return f" (did you mean {parent / close[0]}?)" if close else ""
