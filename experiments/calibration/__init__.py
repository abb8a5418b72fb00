"""Fits the efficiency part of the catalogue to public measurements; see README.md."""
