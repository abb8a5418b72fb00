"""ServeGen clients: rates, burstiness and lengths over windows of time (Xiang et al., NSDI 2026).

https://github.com/alibaba/ServeGen, a folder such as data/language/m-large with two files a client:

* `chunk-N-trace.csv`, without header: start of a window in s, requests/s, CV of the gaps, their
  law (`Gamma` or `Weibull`; empty when idle) and its shape and scale;
* `chunk-N-dataset.json`: for windows of their own (`"21600"`), distributions by name, each a string
  such as `"{143: 0.25, 148: 0.75}"` of tokens and their shares.

Nothing in it was recorded request by request: arrivals and lengths are drawn, from seeded streams.
"""

from __future__ import annotations

import ast
import json
import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from factory.errors import InputError
from factory.statistics import stream
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.lines import line_blocks
from factory.workload.traces.rows import MAX_TOKENS, Rows

_CELLS = 6
_LAWS = ("Gamma", "Weibull")
#: Names of the prompt's tokens: language and reasoning workloads, then multimodal ones.
_INPUTS = ("input_tokens", "text_tokens")
_SHARES_OFF = 1e-3  # how far shares may be from a sum of 1

_Floats = NDArray[np.float64]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Shares:
    """A distribution over whole numbers of tokens."""

    tokens: NDArray[np.int64]
    cumulated: _Floats

    def sample(self, uniforms: _Floats) -> NDArray[np.int64]:
        """Returns the quantiles at numbers in [0, 1)."""
        at = np.searchsorted(self.cumulated, uniforms * self.cumulated[-1], side="right")
        tokens: NDArray[np.int64] = self.tokens[np.minimum(at, len(self.tokens) - 1)]
        return tokens


@dataclass(frozen=True, slots=True)
class Window:
    """A client's arrivals from one time to the next.

    Attributes:
        rate: Requests per second.
        law: Of the gaps, `Gamma` or `Weibull`.
        shape: Its shape; the scale follows from the rate.
    """

    rate: float
    law: str
    shape: float


class Steps(Generic[_T]):
    """What holds from each of its starts on, seconds, ascending."""

    __slots__ = ("_values", "starts")

    def __init__(self, found: dict[int, _T]) -> None:
        self.starts = list(found)
        self._values = list(found.values())

    def at(self, time_s: int) -> _T | None:
        """What holds at a time; None before the first start."""
        place = bisect_right(self.starts, time_s)
        return self._values[place - 1] if place else None


@dataclass(frozen=True, slots=True)
class Client:
    """A client.

    Attributes:
        name: Its number, as text.
        windows: What it does from each of its starts on (None: nothing), by start in seconds.
        lengths: Distributions of input and output tokens from each of their own starts on.
    """

    name: str
    windows: Steps[Window | None]
    lengths: Steps[tuple[Shares, Shares]]


def read(
    bad: BadRows,
    seed: int,
    replication: int = 0,
    rate_scale: float = 1.0,
    from_s: float = 0.0,
    to_s: float = math.inf,
) -> Iterator[Rows]:
    """Yields the superposition of all clients, a window at a time, by arrival.

    In every window a client sends its rate times the window's length (a fraction rounded up or down
    at random), with gaps of the stated law scaled to fill the window, as ServeGen does. Prompt and
    answer lengths are drawn each by itself. Held is one window.

    Args:
        bad: The folder (or one client's file), and what to do about malformed rows.
        seed: Root of the run's streams; client N has streams of its own.
        replication: Repetition under the same seed.
        rate_scale: Multiplies every client's rate.
        from_s: Arrivals before are left out, s of the clients' own clock.
        to_s: Arrivals from then on are left out.

    Raises:
        InputError: A file of a client is missing or malformed, or no client sends anything.
    """
    clients = [_client(path, bad) for path in _paths(bad.path)]
    starts = sorted({start for client in clients for start in client.windows.starts})
    some = False
    for start_s, end_s in pairwise([*starts, *_end(starts)]):
        if end_s <= from_s or start_s >= to_s:
            continue
        rows = _window(clients, start_s, end_s, seed, replication, rate_scale)
        inside = (rows.times_s >= from_s) & (rows.times_s < to_s)
        if not inside.all():
            first, last = np.searchsorted(rows.times_s, (from_s, to_s))
            rows = rows.head(int(last)).tail(int(first))
        if rows.inputs:
            some = True
            yield rows
    if not some:
        raise InputError(f"{bad.path}: no client sends anything")


def _window(
    clients: list[Client],
    start_s: int,
    end_s: int,
    seed: int,
    replication: int,
    rate_scale: float,
) -> Rows:
    times: list[_Floats] = []
    inputs: list[NDArray[np.int64]] = []
    outputs: list[NDArray[np.int64]] = []
    for client in clients:
        window = client.windows.at(start_s)
        lengths = client.lengths.at(start_s)
        if window is None or lengths is None:
            continue
        rng = stream(seed, replication, f"workload/trace/servegen/{client.name}", start_s)
        arrivals = start_s + _arrivals(window, rate_scale, end_s - start_s, rng)
        uniforms = rng.random((2, len(arrivals)))
        times.append(arrivals)
        inputs.append(lengths[0].sample(uniforms[0]))
        outputs.append(lengths[1].sample(uniforms[1]))
    if not times:
        return Rows(np.empty(0), [], [], [])
    together = np.concatenate(times)
    order = np.argsort(together, kind="stable")
    prompt = np.maximum(np.concatenate(inputs)[order], 1)
    answer = np.maximum(np.concatenate(outputs)[order], 1)
    return Rows(together[order], prompt.tolist(), answer.tolist(), [()] * len(order))


def _arrivals(
    window: Window, rate_scale: float, span_s: float, rng: np.random.Generator
) -> _Floats:
    """Arrivals in [0, span): rate × span of them, their gaps scaled to fill it as a circle."""
    start, rounding = rng.random(2)
    count = int(window.rate * rate_scale * span_s + rounding)
    if window.law == "Gamma":
        gaps = rng.standard_gamma(window.shape, count)
    else:
        gaps = rng.weibull(window.shape, count)
    ends = np.cumsum(gaps)
    if not count or not ends[-1] > 0:
        return np.full(count, span_s * start)
    times: _Floats = (ends - start * gaps[0]) * (span_s / ends[-1])
    return np.clip(times, 0.0, np.nextafter(span_s, 0.0))


def _end(starts: list[int]) -> list[int]:
    """End of the last window, which no next one ends: it is as long as the one before it."""
    return [
        2 * starts[-1] - starts[-2] if len(starts) > 1 else start + 600 for start in starts[-1:]
    ]


def _paths(path: str) -> list[Path]:
    """The trace files of all clients, by number."""
    place = Path(path)
    if place.is_dir():
        found = sorted(place.glob("chunk-*-trace.csv"), key=lambda file: (_number(file), file.name))
        if not found:
            raise InputError(
                f"{path}: has no chunk-N-trace.csv; give a folder such as data/language/m-large"
            )
        return found
    name = place.name.replace("-dataset.json", "-trace.csv")
    if not name.endswith("-trace.csv"):
        raise InputError(
            f"{path}: must be a folder of chunk-N-trace.csv and chunk-N-dataset.json, or one such "
            "file"
        )
    return [place.with_name(name)]


def _number(file: Path) -> int:
    digits = re.search(r"\d+", file.name)
    return int(digits.group()) if digits else 0


def _client(path: Path, bad: BadRows) -> Client:
    windows: dict[int, Window | None] = {}
    latest = -1
    for number, lines in line_blocks(str(path)):
        for line, text in enumerate(lines, number):
            if not text.strip():
                continue
            row = _row(text, latest)
            if isinstance(row, str):
                bad.report(line, row, str(path))
                continue
            latest, windows[row[0]] = row
    name = path.name.removeprefix("chunk-").removesuffix("-trace.csv")
    lengths = _dataset(path.with_name(path.name.replace("-trace.csv", "-dataset.json")))
    return Client(name, Steps(windows), Steps(lengths))


def _row(text: str, latest: int) -> tuple[int, Window | None] | str:
    """Start of a window, and what happens in it (None: nothing); or what is wrong."""
    cells = [cell.strip() for cell in text.split(",")]
    if len(cells) != _CELLS:
        return f"must have {_CELLS} cells (start, rate, CV, law, shape, scale), got {len(cells)}"
    try:
        start_s = int(float(cells[0]))
        rate, cv = float(cells[1]), float(cells[2])
        shape = float(cells[4] or 0)
    except ValueError:
        return f"start, rate, CV, shape and scale must be numbers, got {text.strip()}"
    if start_s <= latest:
        return f"start: must rise from window to window, got {start_s} after {latest}"
    if not 0 <= rate < math.inf or not 0 <= cv < math.inf:
        return f"rate and CV: must be >= 0, got {cells[1]} and {cells[2]}"
    if not cells[3] or not rate:
        return start_s, None
    if cells[3] not in _LAWS:
        return f'law: must be {" or ".join(_LAWS)}, got "{cells[3]}"'
    if not 0 < shape < math.inf:
        return f"shape: must be > 0, got {cells[4]}"
    return start_s, Window(rate, cells[3], shape)


def _dataset(path: Path) -> dict[int, tuple[Shares, Shares]]:
    text = "\n".join(line for _, lines in line_blocks(str(path)) for line in lines)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: must be an object of windows, got a {type(found).__name__}")
    lengths: dict[int, tuple[Shares, Shares]] = {}
    for key, fields in sorted(found.items(), key=lambda item: _start(path, item[0])):
        name = next((name for name in _INPUTS if name in fields), None)
        if name is None or "output_tokens" not in fields:
            raise InputError(
                f"{path}: window {key}: must have input_tokens (or text_tokens) and output_tokens, "
                f"has {', '.join(fields)}"
            )
        prompt = _shares(path, key, name, fields[name])
        answer = _shares(path, key, "output_tokens", fields["output_tokens"])
        if prompt is not None and answer is not None:
            lengths[_start(path, key)] = prompt, answer
    return lengths


def _start(path: Path, key: str) -> int:
    try:
        return int(key)
    except ValueError as error:
        raise InputError(f'{path}: a window is named by its start in s, got "{key}"') from error


def _shares(path: Path, key: str, name: str, text: object) -> Shares | None:
    """A distribution; None if it is empty (the client sent nothing)."""
    place = f"{path}: window {key}: {name}"
    try:
        found = ast.literal_eval(text) if isinstance(text, str) else text
    except (ValueError, SyntaxError) as error:
        raise InputError(f"{place}: must be {{tokens: share, …}}") from error
    if not isinstance(found, dict):
        raise InputError(f"{place}: must be {{tokens: share, …}}, got {found!r}")
    if not found:
        return None
    try:
        tokens = np.array([int(k) for k in found], dtype=np.int64)
        shares = np.array([float(v) for v in found.values()])
    except (ValueError, TypeError) as error:
        raise InputError(f"{place}: must be numbers of tokens and their shares") from error
    if tokens.min() < 0 or tokens.max() > MAX_TOKENS or not (shares >= 0).all():
        raise InputError(f"{place}: tokens and shares must be >= 0")
    if abs(shares.sum() - 1.0) > _SHARES_OFF:
        raise InputError(f"{place}: shares must sum to 1, got {shares.sum():.6g}")
    order = np.argsort(tokens)
    return Shares(tokens[order], np.cumsum(shares[order]))
