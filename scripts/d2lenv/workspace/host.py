"""The platform that this machine gets of an environment, chosen as pixi 0.77 chooses it."""

from __future__ import annotations

from collections.abc import Iterable

from rattler import Version, VirtualPackage, VirtualPackageOverrides

from d2lenv.facts import platforms
from d2lenv.workspace.manifest import Workspace
from d2lenv.workspace.platforms import Platform


def platform_for(workspace: Workspace, environment: str) -> str:
    """Return the first platform of ``environment`` that this machine satisfies, in pixi.toml's order.

    The machine's conda subdir where none does, or where pixi.toml has no such environment: then nothing is
    locked for it, which whoever asks for packages will say.

    Raises:
        D2lEnvError: if this distribution has nothing for this machine.
    """
    subdir = platforms.current()
    known = workspace.environments.get(environment)
    names = known.platforms if known else ()
    fitting = [one for one in workspace.platforms if one.subdir == subdir and one.name in names]
    if not any(one.promised for one in fitting):
        return subdir
    return _first_kept(fitting, virtual_packages()) or subdir


def virtual_packages() -> dict[str, str]:
    """Return name → version of this machine's virtual packages, with ``CONDA_OVERRIDE_CUDA`` and the like."""
    found = (one.into_generic() for one in VirtualPackage.detect(VirtualPackageOverrides.from_env()))
    return {one.name.normalized: str(one.version) for one in found}


def _first_kept(fitting: Iterable[Platform], have: dict[str, str]) -> str:
    """Return the first platform that promises nothing more than ``have``, empty for none.

    pixi takes its own defaults, such as the version of glibc, for given (``possible_pixi_platforms``).
    """
    for platform in fitting:
        if all(
            package.name in have and Version(have[package.name]) >= Version(package.version)
            for package in platform.promised
        ):
            return platform.name
    return ""
