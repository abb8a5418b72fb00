"""A fitted workload as a commented YAML file, as `workload.use` takes it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factory.studies.trace_fit import FittedWorkload

_WIDTH = 100


def workload_yaml(
    name: str,
    trace: str,
    kind: str,
    rows: int,
    fitted: FittedWorkload,
    compared: Sequence[tuple[str, float, float]],
) -> str:
    """The file.

    Args:
        name: Of the workload.
        trace: Name of the trace's file.
        kind: Its format.
        rows: Requests that it was fitted to.
        fitted: The tenant and how near each part comes.
        compared: Figures of the trace and of a sample.
    """
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    lines = [
        f"# Fitted to {rows:,} requests of {trace} ({kind}) by `factory trace fit`.",
        "# KS: largest difference of the distribution functions. Error: fitted over trace, less 1.",
        "#",
        "# A sample whose answers come at once, beside the trace:",
        *(
            f"#   {figure}: {_short(theirs)} for {_short(ours)}"
            for figure, ours, theirs in compared
        ),
        f"name: {name}",
        f"description: {_quoted(f'Fitted to {rows:,} requests of {trace}')}",
        "sources:",
        "  - kind: fitted",
        f"    source: {_quoted(f'{trace}, {kind}, {rows:,} requests')}",
        f"    date: {today}",
        f"    of: [{', '.join(fitted.fits)}]",
        "tenants:",
    ]
    body = list(_mapping(fitted.tenant, "", 4, fitted))
    body[0] = "  - " + body[0].lstrip()
    return "\n".join([*lines, *body]) + "\n"


def _mapping(
    values: Mapping[str, Any], path: str, indent: int, fitted: FittedWorkload
) -> Iterator[str]:
    pad = " " * indent
    for key, value in values.items():
        place = f"{path}.{key}" if path else key
        for comment in _comments(place, fitted):
            yield from wrap(
                comment, _WIDTH, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# "
            )
        if not isinstance(value, Mapping):
            yield f"{pad}{key}: {_flow(value)}"
            continue
        flow = f"{pad}{key}: {_flow(value)}"
        if len(flow) <= _WIDTH and not _has_comments(place, fitted):
            yield flow
            continue
        yield f"{pad}{key}:"
        for name, inner in value.items():
            if isinstance(inner, Mapping):
                yield from _mapping({name: inner}, place, indent + 2, fitted)
            else:
                yield from _leaf(name, inner, indent + 2)


def _leaf(name: str, value: Any, indent: int) -> Iterator[str]:
    pad = " " * indent
    line = f"{pad}{name}: {_flow(value)}"
    if len(line) <= _WIDTH or not isinstance(value, list | tuple):
        yield line
        return
    yield f"{pad}{name}:"
    yield f"{pad}  ["
    text = ""
    for item in value:
        part = f"{_flow(item)}, "
        if len(pad) + 4 + len(text) + len(part) > _WIDTH:
            yield f"{pad}    {text.rstrip()}"
            text = ""
        text += part
    yield f"{pad}    {text.rstrip(' ')}"
    yield f"{pad}  ]"


def _comments(place: str, fitted: FittedWorkload) -> Iterator[str]:
    fit = fitted.fits.get(place)
    if fit is not None:
        errors = ", ".join(
            f"{name} {100 * error:+.1f} %"
            for name, error in fit.errors.items()
            if not math.isnan(error)
        )
        yield (
            f"{fit.law}, {fit.n:,} values: KS {fit.ks:.3f}, mean {100 * fit.mean_error:+.1f} %"
            + (f", {errors}" if errors else "")
        )
    if place in fitted.notes:
        yield fitted.notes[place]


def _has_comments(place: str, fitted: FittedWorkload) -> bool:
    """Whether something inside a section has a comment of its own."""
    return any(path.startswith(f"{place}.") for path in (*fitted.fits, *fitted.notes))


def _flow(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return str(value)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
