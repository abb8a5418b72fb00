"""Holds layouts out of the fit: ``python -m experiments.calibration.cross_validate OUT``.

Each in turn, or each kind of them: the sets of `fit_engines` are fitted to the rows of all others,
and predict its rows. The kernels stay as they are fitted to AIConfigurator's step times, which hold
no row of serving; so do the acceptance of drafts and the limits of launch scripts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.calibration import catalog_files
from experiments.calibration.fit_engines import (
    DATA,
    SERVING,
    Job,
    Vote,
    catalogue,
    entry_of,
    fit,
    fit_all,
    grouped,
    read_votes,
)
from experiments.calibration.mean_field import MeanField
from factory.scenario import read_overlays
from factory.validation import rows, serving
from factory.validation.errors import statistics
from factory.validation.rows import NotPredictableError, Row, Table
from factory.validation.serving_rows import Drafting, InferenceX

if TYPE_CHECKING:
    from factory.scenario.kernels import EngineSpec
    from factory.validation.benchmark import Benchmark

NONE = "none"
"""The fold that holds nothing out."""

WIDE = 8
"""Attention ranks beyond which expert parallelism is called wide."""

EVALUATIONS = 5

Fold = dict[str, "EngineSpec"]


def layout_kind(benchmark: Benchmark) -> str:
    """The kind of layout of a benchmark: what is held out together."""
    last = benchmark.sides[-1].layout
    if len(benchmark.sides) == 1:
        if last.dp > 1:
            return "agg-dp"
        if last.tp < 8:
            return "agg-tp4"
        return "agg-tp8ep8" if last.ep > 1 else "agg-tp8ep1"
    if last.dp > 1:
        return "disagg-wide-dp" if last.dp > WIDE else "disagg-dp"
    return "disagg-dp-tp" if benchmark.sides[0].layout.dp > 1 else "disagg-tp-tp"


def layout(benchmark: Benchmark) -> str:
    """The layout of each pool, however many replicas: ``tp1dp8ep8-tp8dp1ep1``."""
    layouts = (side.layout for side in benchmark.sides)
    return "-".join(f"tp{one.tp}dp{one.dp}ep{one.ep}" for one in layouts)


FOLDS: dict[str, Callable[[Benchmark], str]] = {"kind": layout_kind, "layout": layout}
"""What may be held out at once."""


def fit_folds(
    votes: Sequence[Vote], fold_of: Callable[[Benchmark], str], workers: int
) -> dict[str, Fold]:
    """The sets fitted with nothing held out, and with each fold, by its name.

    A fold's fits begin where the one with nothing held out ended: all have the same prior.
    """
    whole = fit(votes, workers)
    folds = {fold: dict(whole) for fold in [NONE, *sorted({fold_of(v.benchmark) for v in votes})]}
    jobs = {
        (fold, name): Job(
            name, [v for v in group if fold_of(v.benchmark) != fold], whole[name], EVALUATIONS
        )
        for fold in folds
        for name, group in grouped(votes).items()
        if any(fold_of(v.benchmark) == fold for v in group)
    }
    for (fold, name), spec in zip(jobs, fit_all(list(jobs.values()), workers), strict=True):
        folds[fold][name] = spec
    return folds


def rows_by_fold(table: Table, fold_of: Callable[[Benchmark], str]) -> dict[str, list[Row]]:
    """Unflagged rows of each fold."""
    kind = InferenceX()
    found: dict[str, list[Row]] = {}
    for row in table.rows:
        if row.text("flag"):
            continue
        try:
            found.setdefault(fold_of(kind.benchmark(row, Drafting())), []).append(row)
        except NotPredictableError:
            continue
    return dict(sorted(found.items()))


def by_mean(given: Sequence[Row], fold: Fold) -> list[serving.Vote]:
    """Votes of some rows, predicted by the benchmark at its mean."""
    kind = InferenceX()
    entries = catalogue(fold)
    fields = {name: MeanField(spec) for name, spec in entries.items()}
    outcomes = []
    for row in given:
        benchmark = kind.benchmark(row, Drafting())
        measures = fields[entry_of(benchmark)].measures(benchmark)
        outcomes.append(serving.Outcome(row, kind.predicted(row, measures)))
    return serving.votes(outcomes, kind)


def by_simulation(
    table: Table, given: Sequence[Row], overlay: Path, workers: int
) -> list[serving.Vote]:
    """Votes of some rows, each benchmark simulated whole under an overlay of the catalogue."""
    kind = InferenceX()
    some = Table(table.name, table.columns, tuple(given))
    changes = read_overlays([overlay]).data
    outcomes = serving.predict(some, kind, Drafting(), workers, None, changes)
    return serving.votes(outcomes, kind)


HEAD = """\
| layouts | n | TPOT median | mean | throughput median | mean | TTFT median |
|---|---|---|---|---|---|---|
"""


def line(name: str, votes: Sequence[serving.Vote]) -> str:
    """A line of the table: errors of some votes, in percent."""
    cells = [name, str(len(votes))]
    for measure in ("tpot", "tput", "ttft"):
        found = statistics(serving.pairs_of(votes, measure))
        cells.append(f"{100 * found.median:.1f}")
        if measure != "ttft":
            cells.append(f"{100 * found.mean:.1f}")
    return f"| {' | '.join(cells)} |\n"


def lines(label: str, by_kind: dict[str, list[serving.Vote]]) -> Iterable[str]:
    """Lines of every fold, of all together, and of either serving."""
    for kind, votes in by_kind.items():
        yield line(f"{kind}, {label}", votes)
    every = [vote for votes in by_kind.values() for vote in votes]
    yield line(f"**all, {label}**", every)
    for serving_kind in ("aggregated", "disaggregated"):
        some = [vote for vote in every if dict(vote.labels)["serving"] == serving_kind]
        yield line(f"{serving_kind}, {label}", some)


def main() -> None:
    """Fits all folds, writes the engines of each, and prints a table of errors."""
    asked = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    asked.add_argument("out", type=Path, help="folder for an engines.yaml of each fold")
    asked.add_argument("--by", choices=FOLDS, default="kind", help="what is held out at once")
    asked.add_argument("--data", type=Path, default=DATA, help=f"data folder (default {DATA})")
    asked.add_argument("--workers", type=int, default=2)
    asked.add_argument("--simulate", action="store_true", help="predict by whole simulations")
    given = asked.parse_args()
    fold_of = FOLDS[given.by]
    folds = fit_folds(read_votes(given.data), fold_of, given.workers)
    overlays = {
        kind: catalog_files.write_engines(given.out / kind, catalogue(fold))
        for kind, fold in folds.items()
    }
    table = rows.read(given.data / SERVING)
    sys.stdout.write(HEAD)
    for label, fitted_to in (("held out", str), ("fitted", lambda _: NONE)):
        found = {}
        for kind, some in rows_by_fold(table, fold_of).items():
            fold = fitted_to(kind)
            found[kind] = (
                by_simulation(table, some, overlays[fold], given.workers)
                if given.simulate
                else by_mean(some, folds[fold])
            )
        sys.stdout.writelines(lines(label, found))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
