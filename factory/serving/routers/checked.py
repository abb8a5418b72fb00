"""A router from outside, whose faults are told as its own."""

from __future__ import annotations

from factory.errors import FactoryError
from factory.serving.routers.protocol import REJECT, Ask, Router
from factory.serving.slots import Slots


class Checked:
    """Lets another router choose, and says where it is at fault.

    Args:
        router: The router.
        entry: What named it in the scenario.

    Raises:
        FactoryError: If it cannot choose at all.
    """

    def __init__(self, router: Router, entry: str) -> None:
        if not callable(getattr(router, "choose", None)):
            kind = type(router).__name__
            raise FactoryError(f"router entry {entry!r}: {kind} has no method choose(ask, slots)")
        self._router = router
        self._entry = entry

    def choose(self, ask: Ask, slots: Slots) -> int:
        """What the router chooses.

        Raises:
            FactoryError: If it fails, or names a slot that takes no requests.
        """
        try:
            slot = self._router.choose(ask, slots)
        except Exception as error:
            kind = type(error).__name__
            raise FactoryError(
                f"router entry {self._entry!r}: choose failed: {kind}: {error}"
            ) from error
        if slot != REJECT and slot not in slots.live:
            raise FactoryError(
                f"router entry {self._entry!r}: choose must answer a slot of slots.live or REJECT "
                f"({REJECT}), got {slot!r}"
            )
        return slot
