"""Build, check, export and repair the environments of the d2l-env workspace."""


def __getattr__(name: str) -> str:
    """``__version__``, looked up when it is asked for: importlib.metadata costs 40 ms at every start."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("d2lenv")
    except PackageNotFoundError:  # run from a checkout with `PYTHONPATH=scripts`
        return "0+unknown"
