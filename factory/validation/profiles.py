"""Which engine profile of the catalogue a measured row ran on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

FRAMEWORKS: Mapping[str, str] = {
    "trt": "trtllm",
    "trtllm": "trtllm",
    "dynamo-trt": "trtllm",
    "sglang": "sglang",
    "dynamo-sglang": "sglang",
    "vllm": "vllm",
    "dynamo-vllm": "vllm",
}
"""Engine behind each framework of the files."""

_ERA = re.compile(r"(?P<engine>[a-z0-9]+)-(?P<month>\d{4}-\d{2})")


def profile_of(framework: str, date: str, image: str = "", *, known: Iterable[str] = ()) -> str:
    """The profile of an engine's latest era that had begun by a date.

    Profiles are named ``<engine>-<YYYY-MM>`` after the month in which their era began; a date
    before the first era gets the first.

    Args:
        framework: As the file names it.
        date: ``YYYY-MM-DD``.
        image: Container image; names the engine where the framework does not.
        known: Profiles of the catalogue; by default what it holds.

    Returns:
        The profile's name; empty where the catalogue has none for this engine.
    """
    engine = FRAMEWORKS.get(framework.lower(), "")
    if not engine:
        engine = next((name for key, name in FRAMEWORKS.items() if key in image.lower()), "")
    names = list(known) or catalogue_profiles()
    eras = [found for name in names if (found := _ERA.fullmatch(name))]
    mine = sorted((found["month"], found.string) for found in eras if found["engine"] == engine)
    if not mine:
        return ""
    begun = [name for month, name in mine if month <= date[:7]]
    return begun[-1] if begun else mine[0][1]


def catalogue_profiles() -> list[str]:
    """Names of the catalogue's engine profiles."""
    from factory.scenario import catalog

    return sorted(getattr(catalog(), "engines", ()))
