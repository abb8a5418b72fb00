"""Faults of a router from outside are told as its own."""

from __future__ import annotations

from typing import Any

import pytest

from factory.errors import FactoryError
from factory.serving.routers import REJECT, Ask
from factory.serving.routers.checked import Checked
from factory.serving.slots import Slots


class Answering:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def choose(self, _ask: Ask, _slots: Slots) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [0, 2, REJECT])
def test_a_sound_answer_passes(answer: int) -> None:
    slots = Slots(3)
    slots.shut([1])
    assert Checked(Answering(answer), "mine:Router").choose(Ask(0.0, 1), slots) == answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (1, "choose must answer a slot of slots.live or REJECT .-1., got 1"),
        (99, "got 99"),
        (None, "got None"),
        (KeyError("x"), "choose failed: KeyError: 'x'"),
    ],
)
def test_faults_name_the_entry(answer: Any, message: str) -> None:
    slots = Slots(3)
    slots.shut([1])
    with pytest.raises(FactoryError, match=f"router entry 'mine:Router': .*{message}"):
        Checked(Answering(answer), "mine:Router").choose(Ask(0.0, 1), slots)


def test_a_router_that_cannot_choose() -> None:
    with pytest.raises(FactoryError, match="'mine:Router': object has no method choose"):
        Checked(object(), "mine:Router")  # type: ignore[arg-type]
