"""The ways to build an environment: ``pixi``, ``rattler``, ``wheels``; the same two functions each.

``why_not(job)`` says why the engine cannot serve the job on this machine, or nothing; ``build(job)``
makes the environment in ``job.building``.
"""
