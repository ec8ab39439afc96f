"""The words of `d2lenv export`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """The reader's wishes.

    Attributes:
        names: environments, empty for all that are exported.
        formats: names of formats, empty for all.
        conda_only: formats without a place for PyPI packages may leave them out.
        previous: a lock file or git revision to compare the listing with, None for the one on file.
        write: write, and do not only compare.
    """

    names: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    conda_only: bool = False
    previous: str | None = None
    write: bool = True

    def wants(self, name: str) -> bool:
        """Return True if the format is among those asked for."""
        return not self.formats or name in self.formats
