"""Speed and size of the simulation, printed: run by hand, `python tests/benchmarks/bench_speed.py`.

Each case prints requests per CPU-second of the simulation proper (`sim_cpu_s`), CPU seconds of the
whole of `simulate`, SimPy events per request and the process's peak memory. Name cases to run only
those; traces are looked for under `../shared/data` beside the checkout, or `--data DIR`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from factory.scenario import load
from factory.simulation import simulate

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def closed(
    requests: int, concurrency: int, dp: int = 1, input_tokens: int = 1024, output_tokens: int = 128
) -> dict[str, Any]:
    """A closed loop on one aggregated replica, lengths uniform in [0.8, 1] of nominal."""
    system = "hgx-h200" if dp < 64 else "gb200-nvl72"
    return {
        "name": f"closed-{concurrency}",
        "facility": {"racks": [{"name": "rack", "system": system}]},
        "deployments": [
            {
                "name": "one",
                "model": "llama-3.1-8b" if dp == 1 else "deepseek-r1",
                "pools": [
                    {
                        "name": "pool",
                        "role": "aggregated",
                        "racks": "rack",
                        "replicas": 1,
                        "parallel": {"tp": 1, "dp": dp, "ep": dp},
                        "engine": {"max_num_seqs": max(16, concurrency // dp)},
                    }
                ],
            }
        ],
        "workload": {
            "tenants": [
                {
                    "name": "load",
                    "load": {"concurrency": concurrency},
                    "input_tokens": uniform(input_tokens),
                    "output_tokens": uniform(output_tokens),
                }
            ]
        },
        "run": {"requests": requests},
    }


def uniform(nominal: int) -> dict[str, Any]:
    """Lengths as InferenceX draws them."""
    return {"distribution": "uniform", "min": int(0.8 * nominal), "max": nominal}


def wide() -> dict[str, Any]:
    """Concurrency 16,384 on one replica of 64 ranks."""
    return closed(163_840, 16_384, dp=64, input_tokens=128, output_tokens=1024)


def many(requests: int) -> dict[str, Any]:
    """Open loop over 64 replicas."""
    scenario = closed(requests, 1)
    pool = scenario["deployments"][0]["pools"][0]
    scenario["name"] = f"many-{requests}"
    scenario["facility"]["racks"][0]["count"] = 2
    pool["replicas"] = 64
    pool["engine"] = {}
    scenario["deployments"][0]["router"] = {"policy": "least_loaded"}
    scenario["workload"]["tenants"][0]["load"] = {"rate": 600}
    return scenario


def agentic(data: Path) -> dict[str, Any]:
    """The agentic sessions over 16 replicas, KV-aware."""
    scenario = closed(1, 1)
    pool = scenario["deployments"][0]["pools"][0]
    scenario["name"] = "agentic"
    scenario["facility"]["racks"][0]["count"] = 4
    scenario["facility"]["racks"][0]["system"] = "hgx-b200"
    deployment = scenario["deployments"][0]
    deployment["model"] = "deepseek-r1"
    deployment["precision"] = {"weights": "fp4"}
    pool |= {"replicas": 16, "parallel": {"tp": 8, "ep": 8}, "engine": {}}
    trace = {"format": "agentic", "path": str(data / "traces/agentic_sessions.parquet")}
    scenario["workload"] = {"tenants": [{"name": "agents"}], "trace": trace}
    scenario["run"] = {}
    return scenario


def mooncake(data: Path) -> tuple[str, list[str]]:
    """The shipped replay of the Mooncake conversation trace."""
    path = data / "traces/mooncake_conversation.jsonl.gz"
    return "mooncake-conversation", [f"workload.trace.path={path}"]


def measure(name: str, data: Path) -> None:
    """Runs one case and prints its line."""
    source: Any
    overrides: list[str] = []
    if name == "closed":
        source = closed(10_000, 10)
    elif name == "wide":
        source = wide()
    elif name == "agentic":
        source = agentic(data)
    elif name == "mooncake":
        source, overrides = mooncake(data)
    else:
        source = many(int(name.partition("-")[2]))
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        summary = simulate(load(source, overrides), Path(folder) / "run").summary
    cpu = time.process_time() - began
    print(
        f"{name:14} {summary['requests']:>9,} requests  "
        f"{summary['requests_per_cpu_s']:>8,.0f} requests/CPU-s  "
        f"{summary['events_per_request']:.2f} events/request  {cpu:6.2f} CPU s in all  "
        f"{summary['peak_rss_mib']:,.0f} MiB",
        flush=True,
    )


CASES = ("closed", "mooncake", "wide", "agentic", "many-100000", "many-1000000")


def main() -> None:
    """Runs the cases, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--here", action="store_true", help="in this process, to profile it")
    options = parser.parse_args()
    for case in options.cases or CASES:
        if options.here:
            measure(case, options.data)
        else:
            arguments = [sys.executable, __file__, case, "--data", str(options.data), "--here"]
            subprocess.run(arguments, check=True)


if __name__ == "__main__":
    main()
