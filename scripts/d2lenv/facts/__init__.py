"""Dated tables, one row a thing, with look-ups and no other logic."""
