"""Readers of recorded demand, one module per format."""
