"""Notebooks, their results and the report."""
