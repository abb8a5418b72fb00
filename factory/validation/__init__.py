"""Predictions beside measurements, and the laws that a finished run obeys."""

from __future__ import annotations
