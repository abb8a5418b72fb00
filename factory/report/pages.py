"""How a page is made and written: its template, and the file that appears whole or not at all."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from factory.errors import RunError
from factory.report.figures import count, duration, percent, quantity, usd

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).parent / "templates"


@cache
def template(name: str) -> Template:
    """A page's template; Jinja2 is imported when the first page is made."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, count=count, usd=usd, quantity=quantity, duration=duration
    )
    return environment.get_template(name)


def write_html(text: str, path: Path) -> None:
    """Write a page, whole or not at all.

    Raises:
        RunError: The file cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RunError(f"{path}: cannot write the page: {error.strerror or error}") from error
