"""Predictions of the step model, and of the memory plan, beside measured ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from factory.performance import Layout, RankWork, RooflineStepModel
from factory.performance.hardware import efficiency
from factory.performance.memory import predicted_memory_gib
from factory.scenario import catalog
from factory.validation.errors import Pair, Statistics, Verdict, by_group
from factory.validation.names import model_of, system_of, weights_of
from factory.validation.outcomes import Outcome, predicted_by_machine
from factory.validation.rows import NotPredictableError, Row, Table, require

if TYPE_CHECKING:
    from factory.performance.architecture import Format
    from factory.performance.hardware import Efficiency
    from factory.performance.memory import Phase
    from factory.scenario import Catalog

COLUMNS = ("system", "model", "quant", "layout", "mode", "batch", "isl", "metric", "value", "unit")
KINDS = ("metric", "system", "model", "layout")
KERNELS = "kernels"
"""Engine profile of measured steps: bare kernels, no host time."""
UNITS = {"prefill_step_time": "ms", "decode_step_time": "ms", "memory": "GiB"}
MODES: Mapping[str, Phase] = {"static_ctx": "prefill", "static_gen": "decode"}
MEDIAN_LIMITS = {"decode_step_time": 0.08, "prefill_step_time": 0.10, "memory": 0.05}
P90_LIMIT = 0.25
BIAS_LIMIT = 0.20

_LAYOUT = re.compile(
    r"tp(?P<tp>\d+)dp(?P<dp>\d+)(?:etp(?P<etp>\d+)ep(?P<ep>\d+))?(?:_nextn(?P<drafts>\d+))?"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a step runs on: everything a step model is built from, by name.

    Attributes:
        system, model: Names in the catalogue.
        layout: Parallel layout.
        weights, kv_cache: Formats.
        engine: trtllm, vllm or sglang, for the memory it takes itself.
        draft_tokens: Tokens drafted and verified beside each sequence's own; 0 for none.
    """

    system: str
    model: str
    layout: Layout
    weights: Format
    kv_cache: Format
    engine: str = ""
    draft_tokens: int = 0


@dataclass(frozen=True, slots=True)
class StepCase:
    """One measured step.

    Attributes:
        machine: What it runs on.
        metric: prefill_step_time, decode_step_time or memory.
        phase: prefill (``batch`` prompts of ``length`` tokens) or decode (``batch`` sequences with
            ``length`` tokens of KV each).
        batch: Sequences per attention rank.
        length: Tokens.
    """

    machine: Machine
    metric: str
    phase: Phase
    batch: int
    length: int


def check_columns(table: Table) -> None:
    """Refuses a file that has not the columns of measured steps.

    Raises:
        InputError: One is missing.
    """
    require(table, COLUMNS, "a file of step times or memory")


def case_of(row: Row) -> StepCase:
    """What a row measured.

    Raises:
        NotPredictableError: It is nothing that we can predict.
        InputError: A cell cannot be read.
    """
    metric, mode = row.text("metric"), row.text("mode")
    unit = UNITS.get(metric)
    if unit is None:
        kind = "op:…" if metric.startswith("op:") else metric
        raise NotPredictableError(f'no prediction of metric "{kind}" (of {", ".join(UNITS)})')
    if row.text("unit") != unit:
        raise NotPredictableError(f'unit of {metric} is "{row.text("unit")}", must be {unit}')
    if mode not in MODES:
        raise NotPredictableError(f'unknown mode "{mode}" (of {", ".join(MODES)})')
    book = catalog()
    layout, drafts = layout_of(row.text("layout"))
    quant = row.text("quant")
    machine = Machine(
        system_of(row.text("system"), book).name,
        model_of(row.text("model"), book).name,
        layout,
        weights_of(quant),
        # As AIConfigurator defaults: KV in FP8 wherever weights are, MXFP4 checkpoints apart.
        "fp16" if quant in {"bf16", "fp16", "mxfp4"} else "fp8",
        row.text("backend"),
        drafts,
    )
    return StepCase(machine, metric, MODES[mode], row.whole("batch", 1), row.whole("isl", 1))


def layout_of(text: str) -> tuple[Layout, int]:
    """A layout as files of steps spell it, and its draft tokens.

    ``tp8dp1etp1ep8_nextn3``: tensor parallel, attention data parallel, tensor parallel inside an
    expert group, expert groups, tokens drafted per step.

    Raises:
        NotPredictableError: It is not one, or its parts contradict each other.
    """
    found = _LAYOUT.fullmatch(text)
    if found is None:
        raise NotPredictableError(f'layout "{text}" is not of the form tp8dp1etp1ep8_nextn3')
    tp, dp, drafts = int(found["tp"]), int(found["dp"]), int(found["drafts"] or 0)
    etp, ep = int(found["etp"] or tp * dp), int(found["ep"] or 1)
    if tp * dp != etp * ep or tp * dp == 0:
        raise NotPredictableError(f'layout "{text}" contradicts itself: tp x dp is not etp x ep')
    return Layout(tp=tp, dp=dp, ep=ep), drafts


def step_model(machine: Machine, reached: Efficiency | None = None) -> RooflineStepModel:
    """The step model of a machine.

    Args:
        machine: What it runs on.
        reached: What kernels reach; by default the catalogue's, under `kernels_of` its engine.

    Raises:
        NotPredictableError: The model has no layers that draft.
    """
    book = catalog()
    system, model = book.systems[machine.system], book.models[machine.model]
    gpu = book.gpus[system.gpu]
    if machine.draft_tokens and not model.mtp_layers:
        raise NotPredictableError(f"{model.name} has no MTP layers that could draft tokens")
    return RooflineStepModel(
        model,
        gpu,
        system,
        machine.layout,
        machine.weights,
        machine.kv_cache,
        reached=reached or _reached(machine, book),
        draft_tokens=machine.draft_tokens,
    )


def kernels_of(engine: str, book: Catalog | None = None) -> str:
    """The profile of an engine's bare kernels: ``kernels-<engine>`` where the catalogue has it."""
    own = f"{KERNELS}-{engine}"
    return own if own in (book or catalog()).engines else KERNELS


def step_ms(model: RooflineStepModel, case: StepCase) -> float:
    """Milliseconds of one step, whether or not it would fit in memory."""
    n, length = case.batch, case.length
    if case.phase == "decode":
        work = RankWork(decode=n, context=n * length, logit_rows=n)
    else:
        work = RankWork(
            prefill_tokens=n * length,
            prefill_pairs=n * length * (length + 1) / 2,
            prefill_context=n * length,
            logit_rows=n,
        )
    return model.plan([work] * case.machine.layout.dp, 1.0, 1).base_s * 1e3


def memory_gib(case: StepCase) -> float:
    """GiB that a GPU holds in a step."""
    machine = case.machine
    return predicted_memory_gib(
        catalog().models[machine.model],
        machine.layout,
        machine.weights,
        machine.kv_cache,
        phase=case.phase,
        batch=case.batch,
        context=case.length,
        draft_tokens=machine.draft_tokens,
        engine=machine.engine,
    )


def predict(
    table: Table,
    workers: int = 1,
    told: Callable[[int, int], None] | None = None,
    book: Catalog | None = None,
) -> list[Outcome]:
    """Predicts every row of a file.

    Args:
        table: With the columns of measured steps.
        workers: Processes.
        told: Told how many machines are done, of how many.
        book: The catalogue; by default the shipped one, without overlays.

    Returns:
        One outcome per row, in order.

    Raises:
        InputError: A cell cannot be read.
    """
    predicted = partial(predict_machine, book=book)
    return predicted_by_machine(table, case_of, attrgetter("machine"), predicted, workers, told)


def predict_machine(cases: Sequence[StepCase], book: Catalog | None = None) -> list[float | str]:
    """Predictions of one machine's cases, or why there is none; a function for other processes."""
    return list(_predictions(cases, book))


def _predictions(cases: Sequence[StepCase], book: Catalog | None) -> Iterator[float | str]:
    model: RooflineStepModel | None = None
    for case in cases:
        try:
            if case.metric == "memory":
                yield memory_gib(case)
                continue
            model = model or step_model(case.machine, _reached(case.machine, book))
            yield step_ms(model, case)
        except NotPredictableError as error:
            yield str(error)


def _reached(machine: Machine, book: Catalog | None) -> Efficiency:
    """What kernels reach on a machine, by a catalogue."""
    book = book or catalog()
    generation = book.gpus[book.systems[machine.system].gpu].generation
    return efficiency(generation, kernels_of(machine.engine, book), book)


def pairs_of(outcomes: Sequence[Outcome]) -> list[Pair]:
    """What was predicted beside what was measured.

    Raises:
        InputError: A measurement is not a number above 0.
    """
    pairs = []
    for outcome in outcomes:
        if outcome.predicted is None:
            continue
        labels = tuple((kind, outcome.row.text(kind)) for kind in KINDS)
        pairs.append(Pair(labels, outcome.row.positive("value"), outcome.predicted))
    return pairs


@dataclass(frozen=True, slots=True)
class Report:
    """Errors of a file of steps.

    Attributes:
        groups: By metric, system, model and layout.
        by_metric, by_model, by_system: Roll-ups; the last two within each metric.
        verdicts: The limits stated for them.
    """

    groups: tuple[Statistics, ...]
    by_metric: tuple[Statistics, ...]
    by_model: tuple[Statistics, ...]
    by_system: tuple[Statistics, ...]
    verdicts: tuple[Verdict, ...]


def report(pairs: Sequence[Pair]) -> Report:
    """Statistics of every group and roll-up, and the limits."""
    groups, metrics = by_group(pairs, KINDS), by_group(pairs, ("metric",))
    verdicts = []
    for total in metrics:
        metric = total.group[0]
        verdicts.append(Verdict(f"{metric} median", total.median, MEDIAN_LIMITS[metric]))
        if metric != "memory":
            verdicts.append(Verdict(f"{metric} p90", total.p90, P90_LIMIT))
    timed = [group for group in groups if group.group[0] != "memory"]
    if timed:
        worst = max(timed, key=lambda group: abs(group.bias))
        name = f"largest bias of a group ({' '.join(worst.group)})"
        verdicts.append(Verdict(name, abs(worst.bias), BIAS_LIMIT))
    return Report(
        tuple(groups),
        tuple(metrics),
        tuple(by_group(pairs, ("metric", "model"))),
        tuple(by_group(pairs, ("metric", "system"))),
        tuple(verdicts),
    )
