"""``docs/fidelity.md``: what we predict, what was measured, where we are wrong and why.

Run as ``python -m factory.validation.fidelity DATA_DIR [--out FILE] [--workers N]`` where DATA_DIR
holds ``step_times/`` and ``serving/``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from factory.errors import InputError
from factory.validation import rows, serving, steps
from factory.validation.errors import Statistics, Verdict, reasons
from factory.validation.explanations import explanation
from factory.validation.markdown import markdown_table
from factory.validation.serving_rows import Kind, kind_of

FILES = {
    "steps": Path("step_times/aic_step_times.csv"),
    "memory": Path("step_times/aic_memory.csv"),
    "inferencex": Path("serving/inferencex_dsr1.csv"),
    "silicon": Path("serving/silicon_other_models.csv"),
}
NOTABLE = 0.15
"""A group is told of where its median error is larger."""

_INTRODUCTION = """\
# How near the predictions are

Every prediction of this page comes from one set of parameters per GPU generation and engine era,
held to published measurements: step times and memory of AIConfigurator 0.12 (Apache-2.0),
benchmarks of SemiAnalysis InferenceX (Apache-2.0). The page is generated; `factory validate` prints
the same tables of any file with the same columns.

Errors are relative: |predicted / measured - 1|. *Median* and *mean* (MAPE) are over the rows of a
group, *bias* is the mean with its sign (+ is too much), *p90* the 90th percentile. A serving row is
a whole simulated benchmark: all its prompts in closed loop, the rush at the start and the drain;
repeats of a configuration share one vote, rows flagged by the data's keepers are left out."""

_TITLES = {
    "prefill_step_time": "Prefill steps",
    "decode_step_time": "Decode steps",
    "memory": "Memory",
    "tpot": "time per output token",
    "ttft": "time to first token",
    "tput": "throughput per GPU",
}


@dataclass(frozen=True, slots=True)
class Section:
    """One table of groups.

    Attributes:
        title: Its heading.
        measure: What is compared.
        kinds: What its groups are named by.
        total: Over all of them.
        rollups: Coarser groups, as (kinds, statistics).
        groups: The groups.
    """

    title: str
    measure: str
    kinds: tuple[str, ...]
    total: Statistics
    rollups: tuple[tuple[tuple[str, ...], tuple[Statistics, ...]], ...]
    groups: tuple[Statistics, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that the page says.

    Attributes:
        verdicts: Limits by the file that they are about.
        sections: Tables.
        not_predicted: Reasons and rows, by file.
    """

    verdicts: tuple[tuple[str, tuple[Verdict, ...]], ...]
    sections: tuple[Section, ...]
    not_predicted: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]


def findings(
    data: Path, workers: int = 1, told: Callable[[int, int], None] | None = None
) -> Findings:
    """Predicts every file of a folder of measurements that is there.

    Raises:
        InputError: None is, or one cannot be used.
    """
    verdicts: list[tuple[str, tuple[Verdict, ...]]] = []
    sections: list[Section] = []
    unknown: list[tuple[str, tuple[tuple[str, int], ...]]] = []
    present = {name: data / path for name, path in FILES.items() if (data / path).is_file()}
    if not present:
        wanted = ", ".join(str(path) for path in FILES.values())
        raise InputError(f"{data}: holds none of {wanted}")
    for name, path in present.items():
        table = rows.read(path)
        if name in {"steps", "memory"}:
            steps.check_columns(table)
            outcomes = steps.predict(table, workers, told)
            report = steps.report(steps.pairs_of(outcomes))
            verdicts.append((path.name, report.verdicts))
            sections += _step_sections(report)
            whys = [outcome.why_not for outcome in outcomes]
        else:
            kind = kind_of(table)
            served = serving.predict(table, kind, None, workers, told)
            found = serving.report(served, kind)
            verdicts.append((path.name, found.verdicts))
            sections += _serving_sections(found, kind)
            whys = [outcome.why_not for outcome in served]
        unknown.append((path.name, tuple(reasons(whys))))
    return Findings(tuple(verdicts), tuple(sections), tuple(unknown))


def _step_sections(report: steps.Report) -> Iterator[Section]:
    for total in report.by_metric:
        metric = total.group[0]

        def mine(groups: Sequence[Statistics], metric: str = metric) -> tuple[Statistics, ...]:
            return tuple(_without_first(one) for one in groups if one.group[0] == metric)

        rollups = ((("model",), mine(report.by_model)), (("system",), mine(report.by_system)))
        yield Section(_TITLES[metric], metric, steps.KINDS[1:], total, rollups, mine(report.groups))


def _without_first(one: Statistics) -> Statistics:
    return Statistics(one.group[1:], one.n, one.median, one.mean, one.bias, one.p90)


def _serving_sections(report: serving.Report, kind: Kind) -> Iterator[Section]:
    for one in report.measures:
        rollups = ((("serving",), one.by_serving),)
        title = f"{kind.form.title}: {_TITLES[one.measure]}"
        yield Section(
            title, one.measure, tuple(kind.form.group_kinds), one.total, rollups, one.groups
        )


def document(found: Findings) -> str:
    """The page, Markdown."""
    parts = [_INTRODUCTION, "## The limits that were set", _limits(found)]
    for section in found.sections:
        parts.append(f"## {section.title}")
        parts.append(_table(("all",), [section.total], is_all=True))
        parts += [_table(kinds, groups) for kinds, groups in section.rollups]
        parts.append(_table(section.kinds, section.groups))
        parts.append("### Where we are wrong, and why we think so")
        parts.append(_wrong(section))
    parts += ["## Rows without a prediction", _without(found)]
    return "\n\n".join(parts) + "\n"


def _limits(found: Findings) -> str:
    lines = [
        [file, one.name, f"{one.value:.1%}", f"{'≥' if one.at_least else '≤'} {one.limit:.0%}",
         "holds" if one.holds else "missed"]
        for file, verdicts in found.verdicts
        for one in verdicts
    ]  # fmt: skip
    return markdown_table(["file", "what", "found", "limit", ""], lines, left=2)


def _table(kinds: Sequence[str], groups: Sequence[Statistics], *, is_all: bool = False) -> str:
    lines = [
        [
            *(["all"] if is_all else one.group),
            str(one.n),
            *(f"{value:.1%}" for value in (one.median, one.mean)),
            f"{one.bias:+.1%}",
            f"{one.p90:.1%}",
        ]
        for one in groups
    ]
    return markdown_table([*kinds, "n", "median", "mean", "bias", "p90"], lines, left=len(kinds))


def _wrong(section: Section) -> str:
    """Groups with a large error, each with what we think of it."""
    lines = []
    by_text: dict[str, list[str]] = {}
    for one in section.groups:
        if one.median > NOTABLE:
            text = explanation(section.measure, section.kinds, one.group)
            text = text or "Not explained yet."
            by_text.setdefault(text, []).append(f"{' '.join(one.group)} ({one.bias:+.0%})")
    for text, groups in by_text.items():
        lines.append(f"- {'; '.join(groups)}: {text}")
    return "\n".join(lines) or f"No group's median error is above {NOTABLE:.0%}."


def _without(found: Findings) -> str:
    lines = [
        f"- {file}, {count} {'row' if count == 1 else 'rows'}: {why}"
        for file, counted in found.not_predicted
        for why, count in counted
    ]
    return "\n".join(lines) or "None."


def headings(text: str) -> list[str]:
    """Headings of a page, in order: its structure."""
    return [line for line in text.splitlines() if line.startswith("#")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the page; returns the exit status."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m factory.validation.fidelity")
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--out", type=Path, default=Path("docs/fidelity.md"), metavar="FILE")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    asked = parser.parse_args(arguments)
    try:
        text = document(findings(asked.data, asked.workers))
        asked.out.write_text(text, encoding="utf-8")
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{asked.out}: cannot be written: {error.strerror}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
