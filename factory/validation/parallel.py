"""Work spread over processes: the same results in the same order, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def mapped(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    costs: Sequence[float],
    workers: int = 1,
    told: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """``[function(item) for item in items]``, the dearest first, on so many processes.

    Args:
        function: A function of a module, for other processes must find it.
        items: What it is given, one by one.
        costs: How long each will take, in any unit.
        workers: Processes; with 1 everything is done in this one.
        told: Told after each result how many are done, of how many.

    Returns:
        Results in the order of the items.

    Raises:
        Exception: Whatever the function raises; nothing more is begun then.
    """
    order = sorted(range(len(items)), key=lambda i: -costs[i])
    found: dict[int, Result] = {}
    run = _alone if workers == 1 or len(items) < 2 else _together(workers)
    with closing(run(function, [items[i] for i in order])) as results:
        for place, result in results:
            found[order[place]] = result
            if told is not None:
                told(len(found), len(items))
    return [found[i] for i in range(len(items))]


def _alone(
    function: Callable[[Item], Result], items: Sequence[Item]
) -> Generator[tuple[int, Result], None, None]:
    for place, item in enumerate(items):
        yield place, function(item)


def _together(
    workers: int,
) -> Callable[
    [Callable[[Item], Result], Sequence[Item]], Generator[tuple[int, Result], None, None]
]:
    def run(
        function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[tuple[int, Result], None, None]:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor, as_completed

        # A fresh interpreter for each: what a parent has done or imported changes nothing.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(items)), context) as pool:
            places = {pool.submit(function, item): place for place, item in enumerate(items)}
            try:
                for future in as_completed(places):
                    yield places[future], future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    return run
