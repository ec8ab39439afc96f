"""``pixi.lock`` → files that other tools install: one module for each format, all of them pure functions.

A format takes a :class:`~d2lenv.export.table.Bundle` and returns ``{path: text}``; :mod:`d2lenv.export.plan`
holds the table of formats, compares with what lies on disk, and writes.
"""
