"""A quarter less grid power for an hour of the evening: who loses what, by policy.

Run as ``python -m experiments.power.curtailment OUT``.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import factory
from factory.records.reader import RunReader

Row = dict[str, Any]

AT_S, LASTS_S, END_S = 1_800.0, 3_600.0, 7_800.0
"""The curtailment begins half an hour into the run, at 18:00; 40 minutes follow it. Seconds."""

PHASES: Mapping[str, tuple[float, float]] = {
    "before": (600.0, AT_S),
    "during": (AT_S, AT_S + LASTS_S),
    "after": (AT_S + LASTS_S, END_S),
}
NONE = "no curtailment"
POLICIES: Mapping[str, Mapping[str, Any] | None] = {
    NONE: None,
    "cap": {"policy": ["cap"]},
    "shed": {"policy": ["shed"], "shed_tenants": ["batch"]},
    "pause": {"policy": ["pause"]},
    "shed and pause": {"policy": ["shed", "pause"], "shed_tenants": ["batch"]},
}
TENANTS = ("chat", "code", "batch")
USD_PER_GPU_HOUR = 1.30
"""H200 owned by a hyperscaler, less about 0.11 of electricity (SemiAnalysis, 2025-10: 1.41)."""


def lengths(mean: float, stddev: float) -> Row:
    """A lognormal number of tokens."""
    return {"distribution": "lognormal", "mean": mean, "stddev": stddev}


def scenario(policy: str, seed: int, scale: float = 1.0) -> Row:
    """32 H200 that serve chat and code by the time of day, and a batch that never ends.

    Args:
        policy: One of `POLICIES`.
        seed: Root of the random streams.
        scale: Of all times, for a shorter look.
    """
    grid: Row = {"price": {"shape": "price-duck"}, "carbon": {"shape": "carbon-duck"}}
    means = POLICIES[policy]
    if means is not None:
        call = {"at_s": AT_S * scale, "duration_s": LASTS_S * scale, "depth_ratio": 0.25}
        call["notice_s"] = 600.0 * scale
        grid |= {"curtailments": [call], **means}
    day = {"diurnal": {"peak_to_mean": 1.6, "peak_hour": 18.0}}
    asks = {
        "chat": (2, 12.0, lengths(1155, 900), lengths(211, 130), {"ttft_s": 2, "itl_ms": 50}),
        "code": (1, 7.0, lengths(2048, 2000), lengths(128, 60), {"ttft_s": 2, "itl_ms": 50}),
        "batch": (0, 11.0, lengths(1500, 1000), lengths(600, 200), {"ttft_s": 120, "itl_ms": 200}),
    }
    return {
        "name": "curtailment",
        "facility": {"racks": [{"name": "h200", "system": "hgx-h200"}], "grid": grid},
        "deployments": [
            {
                "name": "llm",
                "model": "llama-3.1-70b",
                "precision": {"weights": "fp8"},
                "router": {"policy": "least_loaded"},
                "pools": [
                    {
                        "name": "serve",
                        "role": "aggregated",
                        "racks": "h200",
                        "replicas": 8,
                        "parallel": {"tp": 4},
                    }
                ],
            }
        ],
        "workload": {
            "tenants": [
                {
                    "name": name,
                    "priority": priority,
                    "slo": slo,
                    "load": {"rate": rate, **({} if name == "batch" else {"profile": day})},
                    "input_tokens": prompt,
                    "output_tokens": answer,
                }
                for name, (priority, rate, prompt, answer, slo) in asks.items()
            ]
        },
        "run": {
            "duration_s": END_S * scale,
            "window_s": 60.0 * scale,
            "seed": seed,
            "epoch": "2026-06-01T17:30:00Z",
        },
    }


def rows(
    policies: Sequence[str] = tuple(POLICIES), seed: int = 1, scale: float = 1.0
) -> Iterator[Row]:
    """One row per policy and phase, and one per policy and minute, without a phase."""
    for policy in policies:
        with tempfile.TemporaryDirectory() as folder:
            made = factory.load(scenario(policy, seed, scale))
            run_dir = factory.simulate(made, Path(folder) / "run").run_dir
            yield from look(run_dir, policy, scale)


def look(run_dir: Path, policy: str, scale: float) -> Iterator[Row]:
    """Reads the phases and the minutes of one run."""
    reader = RunReader(run_dir)
    states = ("gpu_s_power_capped", "gpu_s_paused", "gpu_s_starting", "gpu_s_draining")
    pools = reader.read("fact_intervals", ("window_start_time_s", "gpu_s_provisioned", *states))
    sums = ("energy_grid_kwh", "electricity_usd", "emissions_g", "excess_kwh")
    grid = reader.read("fact_grid", ("window_start_time_s", "mean_grid_kw", *sums))
    columns = ("arrival_time_s", "ttft_s", "itl_s", "output_tokens", "is_good")
    requests = reader.read("fact_requests", ("tenant", "outcome", *columns))
    arrived_s = requests.number("arrival_time_s")
    good = requests.flag("is_good")
    rejected = requests.is_equal("outcome", "rejected")
    for phase, (from_s, to_s) in PHASES.items():
        start_s, end_s = from_s * scale, to_s * scale

        def within(times_s: np.ndarray, start_s: float = start_s, end_s: float = end_s) -> Any:
            return (times_s >= start_s - 1e-6) & (times_s < end_s - 1e-6)

        at = within(pools.number("window_start_time_s"))
        gpu_s, *spent = (
            float(pools.number(name)[at].sum()) for name in ("gpu_s_provisioned", *states)
        )
        at = within(grid.number("window_start_time_s"))
        kwh, usd, grams, excess = (float(grid.number(name)[at].sum()) for name in sums)
        cost = gpu_s / 3600.0 * USD_PER_GPU_HOUR + usd
        row: Row = {"policy": policy, "phase": phase, "grid_kw": kwh / (end_s - start_s) * 3600.0}
        row |= {"excess_kwh": excess, "emissions_kg": grams / 1e3}
        row |= {"capped_ratio": spent[0] / gpu_s, "rested_ratio": sum(spent[1:]) / gpu_s}
        at = within(arrived_s)
        good_tokens = float(requests.number("output_tokens")[at & good].sum())
        for tenant in TENANTS:
            mine = at & requests.is_equal("tenant", tenant)
            row |= {
                f"{tenant}_good_ratio": float(good[mine].mean()),
                f"{tenant}_rejected_ratio": float(rejected[mine].mean()),
                f"{tenant}_ttft_p90_s": _p90(requests.number("ttft_s")[mine]),
                f"{tenant}_itl_p90_ms": _p90(requests.number("itl_s")[mine]) * 1e3,
            }
        row["usd_per_mtok_good"] = cost / good_tokens * 1e6
        row["good_mtok"] = good_tokens / 1e6
        row["cost_usd"] = cost
        yield row
    starts_s, means_kw = grid.number("window_start_time_s"), grid.number("mean_grid_kw")
    for start_s, grid_kw in zip(starts_s.tolist(), means_kw.tolist(), strict=True):
        if start_s < END_S * scale - 1e-6:
            minute = start_s / scale / 60.0
            yield {"policy": policy, "phase": "", "minute": minute, "grid_kw": grid_kw}


def _p90(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.quantile(known, 0.9)) if len(known) else float("nan")


def tables(found: Sequence[Row]) -> str:
    """Who loses what, in Markdown."""
    head = (
        "| policy | phase | grid kW | above limit, kWh | chat good | code good | batch good | "
        "chat p90 TTFT / ITL | USD per Mtok good | good Mtok |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|---|---|"]
    for row in found:
        if row["phase"]:
            goods = " | ".join(f"{row[f'{t}_good_ratio']:.1%}" for t in TENANTS)
            lines.append(
                f"| {row['policy']} | {row['phase']} | {row['grid_kw']:.1f} | "
                f"{row['excess_kwh']:.3f} | {goods} | "
                f"{row['chat_ttft_p90_s']:.2f} s / {row['chat_itl_p90_ms']:.0f} ms | "
                f"{row['usd_per_mtok_good']:.3f} | {row['good_mtok']:.1f} |"
            )
    return "\n".join(lines)


def draw(found: Sequence[Row], path: Path) -> None:
    """Grid power by minute, and good requests by tenant, for every policy."""
    import altair as alt

    from experiments.serving import charts

    policies = list(dict.fromkeys(row["policy"] for row in found))
    colour = alt.Color(
        "policy:N",
        title=None,
        sort=policies,
        scale=alt.Scale(domain=policies, range=list(charts.COLOURS[: len(policies)])),
    )
    minutes = [row for row in found if not row["phase"]]
    power = (
        alt.Chart(alt.Data(values=minutes), title="Grid power; the curtailment is from 30 to 90")
        .mark_line(strokeWidth=1.5)
        .encode(
            alt.X("minute:Q", title="minutes"),
            alt.Y("grid_kw:Q", title="kW", scale=alt.Scale(zero=True)),
            colour,
        )
        .properties(width=480, height=260)
    )
    goods = [
        {
            "policy": row["policy"],
            "phase": row["phase"],
            "tenant": tenant,
            "good": row[f"{tenant}_good_ratio"],
        }
        for row in found
        if row["phase"] in ("during", "after")
        for tenant in TENANTS
    ]
    bars = (
        alt.Chart(alt.Data(values=goods))
        .mark_bar()
        .encode(
            alt.X("policy:N", title=None, sort=policies, axis=alt.Axis(labels=False, ticks=False)),
            alt.Y("good:Q", title="good share", axis=alt.Axis(format="%")),
            colour,
            alt.Column("tenant:N", title=None, sort=list(TENANTS)),
            alt.Row("phase:N", title=None, sort=["during", "after"]),
        )
        .properties(width=90, height=100)
    )
    charts.save(power | bars, path)


def main() -> None:
    """Runs all policies, writes rows and chart, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    found = list(rows())
    names = list(dict.fromkeys(name for row in found for name in row))
    with (asked.out / "curtailment.csv").open("x", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(found)
    draw(found, asked.out / "curtailment")
    sys.stdout.write(tables(found) + "\n")


if __name__ == "__main__":
    main()
