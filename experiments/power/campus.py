"""The 100 MW campus by cells, and what power control costs the processor.

``python -m experiments.power.campus hour OUT`` simulates an hour of three cells of 140 and prints
what it took and how far the cells differ; OUT is the run's directory.
``python -m experiments.power.campus control`` runs one cell for two minutes without control, with a
budget that never binds and with one that binds, and counts events, which say the same on any
machine, beside CPU seconds, which do not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import factory

SCENARIO = "campus-100mw"

CASES: dict[str, tuple[str, ...]] = {
    "none": ("facility.control.mode=none",),
    "ample": (),
    "binds": ("facility.budget_mw=62",),
    "none again": ("facility.control.mode=none",),
}
"""Overrides by case; the first is run twice, to show how far the machine is from steady."""

_TOOK = ("requests", "events", "events_per_request", "sim_cpu_s", "requests_per_cpu_s")


def run(out: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Runs the campus with overrides (``path=value``) and returns the summary."""
    return factory.simulate(factory.load(SCENARIO, list(overrides)), out).summary


def hour(out: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What an hour took, and what it says.

    Args:
        out: The run's directory.
        overrides: ``path=value`` each.
    """
    summary = run(out, overrides)
    names = (*_TOOK, "peak_rss_mib", "simulated_s", "busy_ratio", "load_factor_ratio", "cells")
    power = summary["power"]
    return {
        **{name: summary[name] for name in names},
        "mean_facility_mw": power["mean_facility_kw"] / 1e3,
        "capped_s": power["capped_s"],
        "attainment": {
            name: tenant["attainment_ratio"] for name, tenant in summary["attainment"].items()
        },
    }


def control(seconds: float = 120.0) -> list[dict[str, Any]]:
    """Events and CPU of one cell by case of `CASES`.

    Args:
        seconds: Of load.
    """
    rows = []
    fixed = (f"run.duration_s={seconds}", f"run.warmup_s={seconds / 2}", "cells.simulated=1")
    with tempfile.TemporaryDirectory() as folder:
        for number, (case, overrides) in enumerate(CASES.items()):
            window = f"run.window_s={min(seconds / 4, 60.0)}"
            summary = run(Path(folder) / str(number), (*fixed, window, *overrides))
            power = summary["power"]
            rows.append(
                {
                    "case": case,
                    **{name: summary[name] for name in _TOOK},
                    "mean_facility_mw": power["mean_facility_kw"] / 1e3,
                }
            )
    return rows


def main() -> None:
    """Runs one of the two, and prints it."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_subparsers(dest="what", required=True)
    one = what.add_parser("hour")
    one.add_argument("out", type=Path, help="the run's directory")
    one.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    two = what.add_parser("control")
    two.add_argument("--seconds", type=float, default=120.0)
    asked = parser.parse_args()
    found = hour(asked.out, asked.set) if asked.what == "hour" else control(asked.seconds)
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
