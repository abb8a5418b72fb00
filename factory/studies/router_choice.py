"""A router written in one word: a policy of the ``router`` section and its settings."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError

from factory.errors import InputError
from factory.scenario.nearest import nearest
from factory.scenario.routing import POLICY_FIELDS, Router


def router_of(text: str, place: str = "router") -> Router:
    """Reads ``POLICY`` or ``POLICY:field=value:field=value``.

    Args:
        text: For example ``kv_aware:load_weight=0.5``; fields are those of a scenario's ``router``.
        place: What to name in errors.

    Returns:
        The section.

    Raises:
        InputError: There is no such policy, it has no such field, or the value is not allowed.
    """
    policy, _, stated = text.partition(":")
    # A value may hold a colon too, as custom:entry=package.module:name does.
    settings = re.split(r":(?=\w+=)", stated) if stated else []
    if policy not in POLICY_FIELDS:
        raise InputError(
            f'{place}: is not a policy, got "{policy}" ({_known(policy, POLICY_FIELDS)})'
        )
    fields: dict[str, Any] = {"policy": policy}
    for setting in settings:
        field, sign, value = setting.partition("=")
        if not sign or field not in POLICY_FIELDS[policy]:
            raise InputError(
                f'{place}: {policy} has no setting "{field}"'
                f" ({_known(field, POLICY_FIELDS[policy])})"
                if sign
                else f'{place}: a setting is field=value, got "{setting}" in "{text}"'
            )
        fields[field] = _value(value)
    for field, default in POLICY_FIELDS[policy].items():
        if default is None and field not in fields:
            raise InputError(f"{place}: {policy} needs {field}=…")
    try:
        return Router.model_validate(fields)
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
        where = ".".join(str(part) for part in error["loc"])
        message = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
        raise InputError(f"{place}: {policy}: {where}: {message}, got {error['input']}") from None


def _known(name: str, names: Any) -> str:
    close = nearest(name, names)
    meant = f"; did you mean {close}?" if close else ""
    return f"allowed: {', '.join(names) or 'none'}{meant}"


def _value(text: str) -> Any:
    """A number, true, false or null as such, anything else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
