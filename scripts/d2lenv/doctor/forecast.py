"""Which version pip would choose for a requirement, without asking an index."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from d2lenv.doctor.model import parsed


def newest(specifier: SpecifierSet, have: str) -> str:
    """Return the version that pip would leave: ``have`` if it is allowed, else about the newest that is.

    No index is asked. Below a limit the forecast is the last release before it, without one a high number.
    Empty when nothing is allowed.
    """
    if have and parsed(have) and _allows(specifier, have):
        return have
    candidates = [text for one in specifier for text in _limits(one.operator, one.version)]
    return max((text for text in (*candidates, "9999") if _allows(specifier, text)), key=Version, default="")


def _allows(specifier: SpecifierSet, version: str) -> bool:
    try:
        return specifier.contains(version, prereleases=True)
    except ValueError:  # a number of more digits than `int` takes
        return False


def _limits(operator: str, version: str) -> Iterator[str]:
    bare = version.removesuffix(".*")
    if parsed(bare) is None:
        return
    if operator == "<":
        *head, last = Version(bare).release
        while last == 0 and head:
            *head, last = head
        yield ".".join(map(str, (*head, last - 1, 9999))) if last else "0"
    elif operator in ("==", "~=") and (operator == "~=" or version.endswith(".*")):
        yield f"{bare}.9999" if operator == "==" else f"{bare.rpartition('.')[0]}.9999"
    else:
        yield bare
