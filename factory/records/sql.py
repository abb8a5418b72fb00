"""Pieces of SQL that views are made of."""

from __future__ import annotations


def ratio(numerator: str, denominator: str) -> str:
    """A ratio that is NULL where its denominator is 0."""
    return f"{numerator} / NULLIF({denominator}, 0)"


def view(name: str, comment: str, body: str) -> str:
    """A view under its comment."""
    return f"-- {comment}\nCREATE OR REPLACE VIEW {name} AS\n{body};"
