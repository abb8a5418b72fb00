"""Prices → ledger → unit costs, from recorded tables alone."""

from __future__ import annotations

from factory.economics.summary import summarize, summarize_pools, summarize_windows

__all__ = ["summarize", "summarize_pools", "summarize_windows"]
