"""The ways to build an environment; what each must answer is told in :class:`d2lenv.engines.job.Engine`."""
