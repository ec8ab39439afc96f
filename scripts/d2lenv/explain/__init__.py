"""A pasted error → its cause and what to type: a table of patterns, an engine, and how it says it.

The rows are data (``table/*.toml``). They also make docs/errors.md and docs/explain.html, so a pattern keeps
to what Python and JavaScript read in the same way (tests/explain/grammar.py says what that is).
"""
