"""How many more servers a row takes on one budget, and what a power cut costs whom.

Run as ``python -m experiments.power.oversubscription OUT``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import factory
from experiments.serving import charts
from experiments.serving.paired import markdown
from experiments.serving.runs import keep, read
from factory.records.reader import RunReader

Row = dict[str, Any]

BASE_SERVERS = 40
MORE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Servers beside those that the row was provisioned for, as a share of them."""

SEEDS = (1, 2, 3)
PEAK_RATIO = 0.79
"""What the servers that a row was provisioned for draw of its budget in their busiest two seconds:
production inference reaches so much (Patel et al., POLCA, ASPLOS 2024)."""

DAY_S = 3600.0
"""A day in an hour: from its trough to its peak and back, which is harder on a loop than a day."""

TROUGH = 0.1
RATE = 0.10
"""Requests/s per server at the peak of the day: four of five servers are busy."""

POLCA, NONE = "POLCA", "no control"
DESIGNS: Mapping[str, Mapping[str, Any]] = {
    POLCA: {"mode": "reactive", "preset": "polca"},
    NONE: {"mode": "none"},
}

_EMPTY = 60
"""Windows in which the row fills up at the start of a run; a day has no such rise."""

PRIORITIES = {"low": 0, "high": 1}


def _uniform(least: int, most: int) -> Row:
    return {"distribution": "uniform", "min": least, "max": most}


CALLS: Mapping[str, tuple[str, Row, Row]] = {
    "summarise": ("low", _uniform(2048, 8192), _uniform(256, 512)),
    "chat-low": ("low", _uniform(2048, 4096), _uniform(128, 2048)),
    "search": ("high", _uniform(512, 2048), _uniform(1024, 2048)),
    "chat-high": ("high", _uniform(2048, 4096), _uniform(128, 2048)),
}
"""Tenants, a quarter of the requests each: priority, prompt and output tokens, after POLCA's table
of workloads (summarise low, search high, chat half and half)."""


def scenario(
    more: float, control: Mapping[str, Any], seed: int, budget_kw: float, day_s: float = DAY_S
) -> Row:
    """A row of A100 servers, half of them of low priority, under one budget."""
    servers = round(BASE_SERVERS * (1.0 + more) / 4) * 4
    day = [[0.0, TROUGH], [day_s / 2, 1.0], [day_s, TROUGH]]
    return {
        "name": "oversubscription",
        "facility": {
            "rows": [{"name": "row", "budget_kw": budget_kw, "oversubscription_ratio": 2.0}],
            "racks": [{"name": "a100", "system": "hgx-a100", "count": servers // 4, "row": "row"}],
            "control": dict(control),
        },
        "deployments": [
            {
                "name": name,
                "model": "llama-3.1-70b",
                "precision": {"weights": "fp16", "kv_cache": "fp16"},
                "pools": [
                    {
                        "name": name,
                        "role": "aggregated",
                        "racks": "a100",
                        "replicas": servers // 2,
                        "parallel": {"tp": 8},
                        "power": {"priority": priority},
                    }
                ],
            }
            for name, priority in PRIORITIES.items()
        ],
        "workload": {
            "tenants": [
                {
                    "name": name,
                    "deployment": priority,
                    "load": {
                        "rate": RATE * servers / len(CALLS),
                        "arrival": "bursts",
                        "bursts": {"factor": 1.5, "burst_s": 60.0, "quiet_s": 240.0},
                        "profile": {"points": day},
                    },
                    "input_tokens": prompt,
                    "output_tokens": output,
                }
                for name, (priority, prompt, output) in CALLS.items()
            ]
        },
        "run": {"duration_s": day_s, "drain": False, "window_s": 2.0, "seed": seed},
    }


MIXES: Mapping[str, tuple[int, int, int]] = {
    "decode-heavy": (300, 2000, 32),
    "mixed": (2000, 500, 32),
    "prefill-heavy": (8000, 16, 16),
}
"""Rows of the second part: longest prompt and answer, tokens, and clients per replica."""

CUTS = (0.0, 0.1, 0.2, 0.3)
"""Share of a row's power that is taken away."""


def provisioned_kw(seeds: Sequence[int] = SEEDS, day_s: float = DAY_S) -> float:
    """Budget of which the row's own servers draw `PEAK_RATIO` at most, over all seeds, IT kW."""
    far_kw = 1e3
    peaks = [
        _simulated(scenario(0.0, DESIGNS[NONE], seed, far_kw, day_s), _row)["peak_kw"]
        for seed in seeds
    ]
    return max(peaks) / PEAK_RATIO


def rows(
    designs: Sequence[str] = tuple(DESIGNS),
    more: Sequence[float] = MORE,
    seeds: Sequence[int] = SEEDS,
    day_s: float = DAY_S,
) -> Iterator[Row]:
    """One row per design, additional servers and seed."""
    budget_kw = provisioned_kw(seeds, day_s)
    for share in more:
        for design in designs:
            for seed in seeds:
                found = _simulated(scenario(share, DESIGNS[design], seed, budget_kw, day_s), _row)
                found["peak_ratio"] = found["peak_kw"] / budget_kw
                found["rise_40s_ratio"] = found.pop("rise_40s_kw") / budget_kw
                found["mean_ratio"] = found["mean_kw"] / budget_kw
                yield {
                    "design": design,
                    "more": share,
                    "seed": seed,
                    "budget_kw": budget_kw,
                    **{key: value for key, value in found.items() if key != "summary"},
                }


def cuts(
    mixes: Sequence[str] = tuple(MIXES), shares: Sequence[float] = CUTS, seed: int = 1
) -> Iterator[Row]:
    """One row per mix and cut of what its row draws uncapped."""
    for mix in mixes:
        full_kw = full = None
        for share in shares:
            budget_kw = None if full_kw is None else full_kw * (1.0 - share)
            found = _simulated(saturated(mix, budget_kw, seed), lambda _: {})
            power, tokens = found["summary"]["power"], found["summary"]["tokens"]
            done = tokens["input_computed"] + tokens["output"]
            if full_kw is None or full is None:
                full_kw, full = power["mean_it_kw"], done
            yield {
                "mix": mix,
                "cut": share,
                "it_kw": power["mean_it_kw"],
                "gpu_kw": power["mean_gpu_kw"],
                "tokens": done,
                "throughput_ratio": done / full,
                "itl_p50_ms": found["summary"]["latency"]["itl_ms"]["p50"],
            }


def saturated(mix: str, budget_kw: float | None, seed: int) -> Row:
    """Four A100 servers with as many clients as they serve at once."""
    prompt, answer, clients = MIXES[mix]
    base = scenario(0.0, {"mode": "ideal"}, seed, 1.0)
    pool = {**base["deployments"][0]["pools"][0], "replicas": 4}
    row = {"name": "row"} if budget_kw is None else {"name": "row", "budget_kw": budget_kw}
    return {
        **base,
        "facility": {
            "rows": [row],
            "racks": [{"name": "a100", "system": "hgx-a100", "row": "row"}],
        },
        "deployments": [{**base["deployments"][0], "pools": [pool]}],
        "workload": {
            "tenants": [
                {
                    "name": "clients",
                    "load": {"concurrency": 4 * clients},
                    "input_tokens": _uniform(prompt * 4 // 5, prompt),
                    "output_tokens": _uniform(answer * 4 // 5, answer),
                }
            ]
        },
        "run": {**base["run"], "duration_s": 300.0, "warmup_s": 60.0, "window_s": 10.0},
    }


def _simulated(source: Row, look: Any) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        result = factory.simulate(factory.load(source), Path(folder) / "run")
        return {"summary": result.summary, **look(result.run_dir)}


def _row(run_dir: Path) -> Row:
    """What happened on the row, and how long answers took by priority."""
    tables = RunReader(run_dir)
    power = tables.read(
        "fact_power", ("power_node", "window_s", "mean_it_kw", "capped_s", "braked_s")
    )
    own = power.is_equal("power_node", "row")
    drawn_kw = power.number("mean_it_kw")[own]
    events = tables.read("fact_events", ("kind",)).strings("kind")
    calls = tables.read("fact_requests", ("deployment", "e2e_s", "output_tokens", "outcome"))
    done = calls.is_equal("outcome", "completed")
    figures: Row = {
        "peak_kw": float(drawn_kw.max()),
        "rise_40s_kw": _rise(drawn_kw[_EMPTY:], 20),
        "mean_kw": float(drawn_kw.mean()),
        "brakes": events.count("brake_began"),
        "caps": events.count("cap_began"),
        "capped_s": float(power.number("capped_s")[own].sum()),
        "braked_s": float(power.number("braked_s")[own].sum()),
        "seconds": float(power.number("window_s")[own].sum()),
        "output_tokens": float(calls.number("output_tokens")[done].sum()),
    }
    for name in PRIORITIES:
        took_s = calls.number("e2e_s")[done & calls.is_equal("deployment", name)]
        for q in (50, 99):
            figures[f"{name}_e2e_p{q}_s"] = float(np.quantile(took_s, q / 100))
    return figures


def _rise(drawn_kw: np.ndarray, windows: int) -> float:
    """Most that the row's draw rose within so many windows, kW."""
    return max(
        float((drawn_kw[lag:] - drawn_kw[:-lag]).max(initial=0.0)) for lag in range(1, windows + 1)
    )


def tables(found: Sequence[Row]) -> str:
    """Brakes, peaks and slowdowns by servers and design."""
    more = sorted({row["more"] for row in found})
    designs = list(dict.fromkeys(row["design"] for row in found))
    head = [
        "more servers", "uncontrolled peak", "peak", "caps", "capped, share of time", "brakes",
        *(f"{name} e2e {q}" for name in PRIORITIES for q in ("p50", "p99")), "output tokens",
    ]  # fmt: skip
    lines = []
    for share in more:
        bare = [row for row in found if row["more"] == share and row["design"] == NONE]
        for design in designs:
            if design == NONE:
                continue
            own = [row for row in found if row["more"] == share and row["design"] == design]
            seconds = sum(row["seconds"] for row in own)
            slower = [
                _against(own, bare, f"{name}_e2e_p{q}_s") for name in PRIORITIES for q in (50, 99)
            ]
            lines.append([
                f"+{share:.0%}",
                f"{max(row['peak_ratio'] for row in bare):.3f}",
                f"{max(row['peak_ratio'] for row in own):.3f}",
                f"{sum(row['caps'] for row in own) / len(own):.1f}",
                f"{sum(row['capped_s'] for row in own) / seconds:.2f}",
                ", ".join(str(row["brakes"]) for row in own),
                *(f"{change:+.1%}" for change in slower),
                f"{_against(own, bare, 'output_tokens'):+.2%}",
            ])  # fmt: skip
    kw = found[0]["budget_kw"]
    seeds = len({row["seed"] for row in found})
    return (
        f"POLCA's preset on a budget of {kw:.1f} kW ({kw / BASE_SERVERS:.2f} kW for each of "
        f"{BASE_SERVERS} servers); peaks are of two seconds over the budget, the highest of "
        f"{seeds} seeds; brakes of each seed; times and tokens against no control\n\n"
        f"{markdown(head, lines)}"
    )


def _against(own: Sequence[Row], bare: Sequence[Row], figure: str) -> float:
    """Mean relative change of a figure, seed by seed."""
    before = {row["seed"]: row[figure] for row in bare}
    changes = [row[figure] / before[row["seed"]] - 1.0 for row in own]
    return sum(changes) / len(changes)


def table_of_cuts(found: Sequence[Row]) -> str:
    """Throughput kept by mix and cut."""
    shares = sorted({row["cut"] for row in found if row["cut"]})
    mixes = list(dict.fromkeys(row["mix"] for row in found))
    at = {(row["mix"], row["cut"]): row for row in found}
    lines = [
        [
            mix,
            f"{at[mix, 0.0]['it_kw']:.1f}",
            *(f"{at[mix, share]['throughput_ratio']:.3f}" for share in shares),
        ]
        for mix in mixes
    ]
    head = ["row", "IT kW uncapped", *(f"kept at -{share:.0%}" for share in shares)]
    return f"Tokens/s kept under a cut of the row's IT power\n\n{markdown(head, lines)}"


def chart(found: Sequence[Row], kept: Sequence[Row]) -> Any:
    """Peaks over additional servers, brakes, and throughput kept under a cut."""
    import altair as alt

    designs = list(DESIGNS)
    colour = alt.Color(
        "design:N", title=None, scale=alt.Scale(domain=designs, range=list(charts.COLOURS[:2]))
    )
    shown = alt.Data(values=[{**row, "more": row["more"] * 100} for row in found])
    across = alt.X("more:Q", title="servers beside the 40 provisioned, %")
    base = alt.Chart(shown)
    peak = base.mark_line(strokeWidth=2).encode(
        across,
        alt.Y("max(peak_ratio):Q", title="peak over the budget", scale=alt.Scale(zero=False)),
        colour,
    )
    peak += base.mark_point(filled=True, size=30, opacity=0.8).encode(
        across, alt.Y("peak_ratio:Q"), colour
    )
    limit = alt.Data(values=[{"y": 1.0}])
    peak += alt.Chart(limit).mark_rule(strokeDash=[4, 4], color="#999999").encode(y="y:Q")
    brakes = (
        base.transform_filter(f"datum.design == '{POLCA}'")
        .mark_bar(color=charts.COLOURS[0], size=22)
        .encode(across, alt.Y("mean(brakes):Q", title="brakes per day of an hour"))
    )
    mixes = list(MIXES)
    cut = (
        alt.Chart(alt.Data(values=[{**row, "cut": row["cut"] * 100} for row in kept]))
        .mark_line(point=True, strokeWidth=2)
        .encode(
            alt.X("cut:Q", title="IT power taken away, %"),
            alt.Y("throughput_ratio:Q", title="tokens/s kept", scale=alt.Scale(zero=False)),
            alt.Color(
                "mix:N",
                title=None,
                sort=mixes,
                scale=alt.Scale(domain=mixes, range=list(charts.COLOURS[2:5])),
            ),
        )
    )
    size = {"width": 260, "height": 220}
    return (
        peak.properties(title="Peak of the row", **size)
        | brakes.properties(title="Brakes, POLCA", **size)
        | cut.properties(title="Under a cut", **size)
    ).resolve_scale(color="independent")


def main() -> None:
    """Simulates, keeps rows and tables, draws the chart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the results; nothing is overwritten")
    out = parser.parse_args().out
    found = []
    for row in rows():
        found.append(row)
        sys.stderr.write(
            f"{row['design']} +{row['more']:.0%} seed {row['seed']}: {row['peak_ratio']:.3f}, "
            f"{row['brakes']} brakes\n"
        )
    keep(out, "oversubscription", found, tables)
    keep(out, "power_cuts", list(cuts()), table_of_cuts)
    charts.save(
        chart(read(out / "oversubscription.csv"), read(out / "power_cuts.csv")),
        out / "oversubscription",
    )


if __name__ == "__main__":
    main()
