"""Step times to fit to: rows of our columns, or the decode steps that a benchmark tells of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import InputError
from factory.scenario import catalog
from factory.validation import rows, steps
from factory.validation.calibrate import Measured
from factory.validation.external import read_benchmark
from factory.validation.names import model_of, system_of, weights_of
from factory.validation.rows import NotPredictableError
from factory.validation.steps import Machine, StepCase


@dataclass(frozen=True, slots=True)
class Server:
    """What a benchmark ran against, which its output does not say; texts as a user gives them.

    Attributes:
        system, model, layout, quant: As in files of steps: ``h200_sxm`` or ``hgx-h200``, a Hugging
            Face id or name, ``tp4dp1``, ``fp8``.
        concurrency: Requests in flight; 0 for what the file says.
        isl, osl: Mean lengths, tokens; 0 for what the file says.
    """

    system: str = ""
    model: str = ""
    layout: str = "tp1dp1"
    quant: str = "fp8"
    concurrency: int = 0
    isl: int = 0
    osl: int = 0


def from_files(
    files: Sequence[Path], server: Server
) -> tuple[list[Measured], list[tuple[str, int]]]:
    """Measured steps of one CSV, or one decode step of each benchmark's output.

    Args:
        files: A CSV with the columns of measured steps, or JSON files of benchmarks.
        server: What the benchmarks ran against.

    Returns:
        The steps, and why rows were left out, with how many.

    Raises:
        InputError: A file cannot be used, or does not say what is needed.
    """
    measured: list[Measured] = []
    left_out: list[str] = []
    for file in files:
        if file.suffix.lower() == ".csv":
            _from_csv(file, measured, left_out)
        else:
            measured.append(from_benchmark(file, server))
    from factory.validation.errors import reasons

    return measured, reasons(left_out)


def _from_csv(file: Path, measured: list[Measured], left_out: list[str]) -> None:
    table = rows.read(file)
    steps.check_columns(table)
    for row in table.rows:
        try:
            case = steps.case_of(row)
            steps.step_model(case.machine)
        except NotPredictableError as error:
            left_out.append(str(error))
            continue
        if case.metric == "memory":
            left_out.append("memory is not fitted")
        else:
            measured.append(Measured(case, row.positive("value")))


def from_benchmark(file: Path, server: Server) -> Measured:
    """The decode step that a benchmark's TPOT tells of.

    At a steady concurrency a sequence's median TPOT is the time of a step of that many sequences,
    each half way through its answer. Prefill between the steps is in it, too: benchmark with few
    prompts per answer (long outputs) to keep it small.

    Raises:
        InputError: The file or the flags do not say what is needed.
    """
    values = read_benchmark(file).values
    tpot = values.get(("itl", "p50"), values.get(("itl", "mean")))
    data = json.loads(file.read_text(encoding="utf-8-sig"))
    conc = server.concurrency or _whole(data.get("max_concurrency"))
    done = _whole(data.get("completed"))
    isl = server.isl or (_whole(data.get("total_input_tokens")) // done if done else 0)
    osl = server.osl or (_whole(data.get("total_output_tokens")) // done if done else 0)
    for name, found in (
        ("--system", server.system),
        ("--model", server.model or data.get("model_id")),
        ("--concurrency", conc),
        ("--isl", isl),
        ("--osl", osl),
        ("a TPOT", tpot),
    ):
        if not found:
            raise InputError(f"{file}: says no {name.lstrip('-')}; give {name}")
    assert tpot is not None
    try:
        layout, drafts = steps.layout_of(server.layout)
        machine = Machine(
            system_of(server.system, catalog()).name,
            model_of(server.model or str(data.get("model_id")), catalog()).name,
            layout,
            weights_of(server.quant),
            "fp16" if server.quant in {"bf16", "fp16"} else "fp8",
            "",
            drafts,
        )
    except NotPredictableError as error:
        raise InputError(f"{file}: {error}") from None
    batch = max(round(conc / layout.dp), 1)
    return Measured(StepCase(machine, "decode_step_time", "decode", batch, isl + osl // 2), tpot)


def _whole(given: Any) -> int:
    return int(given) if isinstance(given, int | float) and given > 0 else 0
