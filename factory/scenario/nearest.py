"""The name that was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_NUMBERED = re.compile(r"(?<!\d{4})-\d+$")
"""A number at the end of a name, as of a rack or replica; not the month of a version's date."""


def stem_of(name: str) -> str:
    """A name without the number at its end: ``chat`` of ``chat-6``."""
    return _NUMBERED.sub("", name)


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name closest to ``name``, if any is close.

    Case, ``-``, ``_`` and ``.`` do not count. The beginning of a name is closest to it, then comes
    similar spelling, then a part of a name. A name that differs by its number alone is another one:
    ``chat-6`` is not what ``chat-9`` means.
    """
    if not isinstance(name, str) or not name:
        return None
    by_form: dict[str, str] = {}
    stem = stem_of(name)
    for candidate in known:
        is_other_number = stem != name and stem_of(candidate) == stem
        if is_other_number and candidate != name:
            continue
        by_form.setdefault(_form(candidate), candidate)
    form = _form(name)
    if not form:
        return None
    begun = [other for other in by_form if other.startswith(form) or form.startswith(other)]
    similar = difflib.get_close_matches(form, by_form, n=1, cutoff=0.6)
    within = [other for other in by_form if form in other or other in form]
    for candidates in (begun if len(form) > 2 else [], similar, within):
        if candidates:
            return by_form[candidates[0]]
    return None


def _form(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
