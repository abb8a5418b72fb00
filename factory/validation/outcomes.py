"""What becomes of the rows of a file: cases by machine, predicted together, back in their order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from factory.validation.parallel import mapped
from factory.validation.rows import NotPredictableError, Row, Table

Case = TypeVar("Case", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row.

    Attributes:
        row: The row.
        predicted: In the unit of the row; None where there is no prediction.
        why_not: Why there is none.
    """

    row: Row
    predicted: float | None
    why_not: str = ""


def predicted_by_machine(
    table: Table,
    case_of: Callable[[Row], Case],
    machine_of: Callable[[Case], Hashable],
    predict: Callable[[Sequence[Case]], list[float | str]],
    workers: int = 1,
    told: Callable[[int, int], None] | None = None,
) -> list[Outcome]:
    """Predicts every row of a file; rows of one case are predicted once.

    Args:
        table: The rows.
        case_of: What a row is about; it raises `NotPredictableError` where that has no prediction.
        machine_of: What cases have in common that is worth building once.
        predict: Predictions of the cases of one machine, or why there is none; a function of a
            module, or a partial of one, for other processes must find it.
        workers: Processes.
        told: Told how many machines are done, of how many.

    Returns:
        One outcome per row, in order.

    Raises:
        InputError: A cell cannot be read.
    """
    cases: list[tuple[Case | None, str]] = []
    groups: dict[Hashable, dict[Case, None]] = {}
    for row in table.rows:
        try:
            case = case_of(row)
        except NotPredictableError as error:
            cases.append((None, str(error)))
        else:
            cases.append((case, ""))
            groups.setdefault(machine_of(case), {})[case] = None
    wanted = [list(group) for group in groups.values()]
    results = mapped(predict, wanted, [len(group) for group in wanted], workers, told)
    known: dict[Case, float | str] = {}
    for group, values in zip(wanted, results, strict=True):
        known.update(zip(group, values, strict=True))
    return [
        _outcome(row, why if case is None else known[case])
        for row, (case, why) in zip(table.rows, cases, strict=True)
    ]


def _outcome(row: Row, value: float | str) -> Outcome:
    return Outcome(row, None, value) if isinstance(value, str) else Outcome(row, value)
