"""Fits of the power law, of the benches it was measured on, and a script to measure a GPU."""
