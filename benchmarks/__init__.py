"""Measurements of time and memory; not installed with the package."""
