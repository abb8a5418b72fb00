"""``factory validate``: predictions beside measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from factory.scenario import Catalog
    from factory.validation.errors import Statistics, Verdict
    from factory.validation.outcomes import Outcome
    from factory.validation.rows import Table

STATISTICS = ("n", "median", "mean", "bias", "p90")
EXPLAINED = (
    "median, mean and p90 of |predicted / measured - 1|; bias is the mean with its sign "
    "(+ is too much)"
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which rows of a file, and what is done with the result.

    Attributes:
        where, every, limit: See `factory.validation.rows.chosen`.
        out: Where the rows go with what was predicted; None for nowhere.
        workers: Processes.
        as_json: Print one JSON object and nothing else.
        as_markdown: Print the tables as Markdown.
        overlays: Files of catalogue changes that predictions shall rest on.
    """

    where: Sequence[str] = ()
    every: int = 1
    limit: int | None = None
    out: Path | None = None
    workers: int = 1
    as_json: bool = False
    as_markdown: bool = False
    overlays: Sequence[Path] = ()


def _predicted(
    file: Path, asked: Chosen, kind: ModuleType, machines: str, book: Catalog
) -> tuple[Table, list[Outcome]]:
    """Rows of a file of measured values with what `kind` predicts; written too if that is asked."""
    from factory.validation import rows

    table = rows.read(file)
    kind.check_columns(table)
    table = _chosen(table, asked)
    with _told(file.name, machines, quiet=asked.as_json) as told:
        outcomes: list[Outcome] = kind.predict(table, asked.workers, told, book)
    if asked.out is not None:
        cells = [rows.cell(outcome.predicted) for outcome in outcomes]
        whys = [outcome.why_not for outcome in outcomes]
        rows.write(asked.out, table, {"predicted_value": cells, rows.NOT_PREDICTED: whys})
    return table, outcomes


def validate_steps(file: Path, asked: Chosen) -> None:
    """Hold the step model and the memory plan to a file of measured steps.

    Args:
        file: CSV with the columns of measured steps.
        asked: Which rows, and what is done with the result.

    Raises:
        FactoryError: The file cannot be used.
        SystemExit: With 1, no row could be predicted.
    """
    from factory.cli.output import print_json
    from factory.scenario import read_overlays
    from factory.validation import steps
    from factory.validation.errors import reasons

    overlay = read_overlays(asked.overlays)
    table, outcomes = _predicted(file, asked, steps, "machines", overlay.catalog)
    pairs = steps.pairs_of(outcomes)
    whys = [outcome.why_not for outcome in outcomes]
    report = steps.report(pairs)
    if asked.as_json:
        print_json(
            {
                **_counts(file, table, whys),
                "groups": [one.as_json(steps.KINDS) for one in report.groups],
                "by_metric": [one.as_json(("metric",)) for one in report.by_metric],
                "by_model": [one.as_json(("metric", "model")) for one in report.by_model],
                "by_system": [one.as_json(("metric", "system")) for one in report.by_system],
                "limits": [one.as_json() for one in report.verdicts],
            }
        )
    else:
        show = _Printer(as_markdown=asked.as_markdown)
        show.table(steps.KINDS, report.groups)
        show.table(("metric", "model"), report.by_model)
        show.table(("metric", "system"), report.by_system)
        show.table(("metric",), report.by_metric)
        show.reasons(reasons(whys))
        show.last(f"{len(pairs)} of {len(whys)} rows of {file.name} predicted", report.verdicts)
    if not pairs:
        raise SystemExit(1)


def validate_power(file: Path, asked: Chosen) -> None:
    """Hold the power law, on the step model, to a file of measured power and energy.

    Args:
        file: CSV with the columns of power points.
        asked: Which rows, and what is done with the result.

    Raises:
        FactoryError: The file cannot be used.
        SystemExit: With 1, no row could be predicted.
    """
    from factory.cli.output import print_json
    from factory.scenario import read_overlays
    from factory.validation import power
    from factory.validation.errors import reasons

    overlay = read_overlays(asked.overlays)
    table, outcomes = _predicted(file, asked, power, "servers", overlay.catalog)
    whys = [outcome.why_not for outcome in outcomes]
    report = power.report(outcomes, overlay.catalog)
    known_speed = report.at_measured_speed
    if asked.as_json:
        print_json(
            {
                **_counts(file, table, whys),
                "groups": [one.as_json(power.KINDS) for one in report.groups],
                "by_gpu": [one.as_json(("metric", "gpu")) for one in report.by_gpu],
                "by_metric": [one.as_json(("metric",)) for one in report.by_metric],
                "scored": [one.as_json(("metric",)) for one in report.scored],
                "energy_at_measured_speed": None
                if known_speed is None
                else known_speed.as_json(("metric",)),
                "limits": [one.as_json() for one in report.verdicts],
            }
        )
    else:
        show = _Printer(as_markdown=asked.as_markdown)
        show.table(power.KINDS, report.groups)
        show.table(("metric", "gpu"), report.by_gpu)
        show.table(("metric",), report.by_metric)
        if report.scored:
            show.heading("rows of serving that the limits are on")
            show.table(("metric",), [*report.scored, *([known_speed] if known_speed else [])])
        show.reasons(reasons(whys))
        predicted = sum(not why for why in whys)
        show.last(f"{predicted} of {len(whys)} rows of {file.name} predicted", report.verdicts)
    if all(whys):
        raise SystemExit(1)


def validate_serving(
    file: Path, asked: Chosen, *, draft_tokens: int | None, acceptance: str | None
) -> None:
    """Simulate the benchmarks of a file of measured serving, and hold them to it.

    Args:
        file: CSV with the columns of InferenceX or of silicon points.
        asked: Which rows, and what is done with the result.
        draft_tokens: Tokens drafted per step in rows with MTP; None for what launch scripts say.
        acceptance: Probabilities by draft position, ``0.85,0.7``; None for the model's own.

    Raises:
        FactoryError: The file cannot be used.
        SystemExit: With 1, no row could be predicted.
    """
    from factory.cli.output import print_json
    from factory.scenario import read_overlays
    from factory.validation import rows, serving
    from factory.validation.errors import reasons
    from factory.validation.serving_rows import Drafting, kind_of

    drafting = Drafting(draft_tokens, _probabilities(acceptance))
    overlay = read_overlays(asked.overlays)
    table = rows.read(file)
    kind = kind_of(table)
    table = _chosen(table, asked)
    with _told(file.name, "benchmarks", quiet=asked.as_json) as told:
        outcomes = serving.predict(table, kind, drafting, asked.workers, told, overlay.data)
    whys = [outcome.why_not for outcome in outcomes]
    if asked.out is not None:
        names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.predicted))
        names = names or list(kind.form.measures.values())
        added = {
            f"predicted_{name}": [rows.cell(outcome.predicted.get(name)) for outcome in outcomes]
            for name in names
        }
        rows.write(asked.out, table, {**added, rows.NOT_PREDICTED: whys})
    report = serving.report(outcomes, kind)
    if asked.as_json:

        def measures(given: Sequence[serving.MeasureReport]) -> dict[str, Any]:
            return {
                one.measure: {
                    "all": one.total.as_json(()),
                    "by_serving": [group.as_json(("serving",)) for group in one.by_serving],
                    "groups": [group.as_json(kind.form.group_kinds) for group in one.groups],
                }
                for one in given
            }

        print_json(
            {
                **_counts(file, table, whys),
                "measures": measures(report.measures),
                "flagged": measures(report.flagged),
                "ordering": None if report.ordering is None else report.ordering.as_json(),
                "limits": [one.as_json() for one in report.verdicts],
            }
        )
    else:
        _print_serving(file, report, kind.form.group_kinds, whys, reasons(whys), asked)
    if all(whys):
        raise SystemExit(1)


def _print_serving(
    file: Path,
    report: Any,
    kinds: Sequence[str],
    whys: Sequence[str],
    counted: Sequence[tuple[str, int]],
    asked: Chosen,
) -> None:
    show = _Printer(as_markdown=asked.as_markdown)
    for one in report.measures:
        show.heading(f"{one.measure}, one vote per configuration")
        show.table(kinds, one.groups)
        show.table(("serving",), one.by_serving)
        show.table((), [one.total])
    for one in report.flagged:
        show.heading(f"{one.measure} of rows with a flag (not scored)")
        show.table(("serving",), one.by_serving)
    show.reasons(counted)
    order = report.ordering
    if order is not None and order.pairs:
        show.line(f"order of throughput right in {order.right} of {order.pairs} pairs")
    predicted = sum(not why for why in whys)
    show.last(f"{predicted} of {len(whys)} rows of {file.name} predicted", report.verdicts)


def validate_run(run_dir: Path, file: Path, *, as_json: bool) -> None:
    """Hold a finished run to the benchmark of a real cluster.

    Args:
        run_dir: The run.
        file: Output of AIPerf (JSON or CSV) or of ``vllm bench serve --save-result``.
        as_json: Print one JSON object and nothing else.

    Raises:
        FactoryError: There is no such run, or the file cannot be used.
    """
    from factory.cli.finished import finished_run
    from factory.cli.output import print_columns, print_json
    from factory.validation.external import compare, read_benchmark

    measured = read_benchmark(file)
    rows = compare(finished_run(run_dir), measured)
    if as_json:
        plain = [
            {
                "metric": row.metric,
                "statistic": row.statistic,
                "unit": row.unit,
                "measured": row.measured,
                "simulated": row.simulated,
                "error": row.error,
            }
            for row in rows
        ]
        print_json({"run_dir": str(run_dir), "benchmark": measured.source, "rows": plain})
        return
    print(f"{run_dir.name} beside {file.name} ({measured.source})")
    cells = [
        [
            row.metric,
            row.statistic,
            f"{row.measured:.4g}",
            f"{row.simulated:.4g}",
            row.unit,
            "-" if row.error is None else f"{row.error:+.1%}",
        ]
        for row in rows
    ]
    head = ["metric", "statistic", "measured", "simulated", "unit", "error"]
    print_columns(head, cells, [False, False, True, True, False, True])


def _chosen(table: Table, asked: Chosen) -> Table:
    from factory.validation.rows import chosen

    return chosen(table, asked.where, asked.every, asked.limit)


def _counts(file: Path, table: Table, whys: Sequence[str]) -> dict[str, Any]:
    from factory.validation.errors import reasons

    return {
        "file": str(file),
        "rows": len(table.rows),
        "predicted": sum(not why for why in whys),
        "not_predicted": [{"because": why, "rows": n} for why, n in reasons(whys)],
    }


def _probabilities(text: str | None) -> tuple[float, ...]:
    """Probabilities written ``0.85,0.7``.

    Raises:
        InputError: They are not that.
    """
    from factory.errors import InputError

    if text is None:
        return ()
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0.0 <= value <= 1.0 for value in values):
        raise InputError(f'--acceptance: must be probabilities such as 0.85,0.7, got "{text}"')
    return values


@contextmanager
def _told(name: str, what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Says on standard error how far a long validation is: a bar on a terminal, else lines."""
    import sys
    import time

    if quiet:
        yield None
        return
    is_terminal = sys.stderr.isatty()
    last = time.monotonic()

    def told(done: int, of: int) -> None:
        nonlocal last
        now = time.monotonic()
        if is_terminal:
            print(f"\r{name}: {done} of {of} {what}", end="", file=sys.stderr, flush=True)
        elif now - last >= 10.0:
            last = now
            print(f"{name}: {done} of {of} {what}", file=sys.stderr, flush=True)

    try:
        yield told
    finally:
        if is_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


class _Printer:
    """Prints tables of errors, plain or as Markdown."""

    def __init__(self, *, as_markdown: bool) -> None:
        self._as_markdown = as_markdown

    def heading(self, text: str) -> None:
        """A heading."""
        print(f"## {text}\n" if self._as_markdown else f"{text}:")

    def line(self, text: str) -> None:
        """One line, a paragraph of its own."""
        print(f"{text}\n")

    def table(self, kinds: Sequence[str], groups: Sequence[Statistics]) -> None:
        """Groups with their statistics."""
        from factory.cli.output import print_columns
        from factory.validation.markdown import markdown_table

        if not groups:
            return
        head = [*(kinds or ["all"]), *STATISTICS]
        rows = [[*(one.group or ("all",)), *cells_of(one)] for one in groups]
        if self._as_markdown:
            print(markdown_table(head, rows, left=len(head) - len(STATISTICS)))
        else:
            print_columns(head, rows, [False] * (len(head) - 5) + [True] * 5)
        print()

    def reasons(self, counted: Sequence[tuple[str, int]]) -> None:
        """Why rows were not predicted, and how many."""
        for why, count in counted:
            print(f"not predicted, {count} {'row' if count == 1 else 'rows'}: {why}")
        if counted:
            print()

    def last(self, told: str, verdicts: Sequence[Verdict]) -> None:
        """The overall line: how many rows, and whether the limits hold."""
        print(f"({EXPLAINED})")
        missed = sum(not one.holds for one in verdicts)
        word = "all limits hold" if not missed else f"{missed} of {len(verdicts)} limits missed"
        print(f"{told}; {word}: {'; '.join(map(str, verdicts))}" if verdicts else told)


def cells_of(one: Statistics) -> list[str]:
    """Statistics as cells, in the order of `STATISTICS`."""
    values: Mapping[str, float] = {
        "median": one.median,
        "mean": one.mean,
        "p90": one.p90,
    }
    signed = f"{one.bias:+.1%}"
    ratios = {name: f"{value:.1%}" for name, value in values.items()}
    return [str(one.n), ratios["median"], ratios["mean"], signed, ratios["p90"]]
