"""``pixi.lock`` → files that other tools install: one module for each format, all of them pure functions.

A request becomes a plan, the plan is compared or written, and the result is reported. What a format sees of a
lock is a table (:mod:`d2lenv.export.table`); the formats stand in :mod:`d2lenv.export.formats.registry`.
"""
