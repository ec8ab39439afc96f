"""The released ``d2l``: sha256 of each module, whatever channel or index an installation came from.

Computed on 2026-11-22 from the wheels d2l-1.0.3-py3-none-any.whl and d2l-0.17.6-py3-none-any.whl that
``pip download --no-deps d2l==VERSION`` gave (their own sha256 stands with each); conda-forge's record of
1.0.3 has no known hash, so these are what an installed ``d2l`` is compared with.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Release:
    """One release of d2l.

    Attributes:
        version: as in its metadata.
        edition: ``en`` or ``zh``, the edition of the book whose library it is.
        wheel_sha256: of the wheel that the digests were computed from.
        files: path below site-packages → sha256 (hex).
        metadata: path below the ``.dist-info`` folder → sha256 (hex), for files that every build copies.
    """

    version: str
    edition: Literal["en", "zh"]
    wheel_sha256: str
    files: dict[str, str]
    metadata: dict[str, str] = field(default_factory=dict)


# The same in both wheels and in both source distributions, which conda-forge's recipe builds (their sha256
# are those of the recipe; compared on 2026-11-24). setuptools 77 and newer put the licences into a folder.
_LICENCES = {
    "LICENSE": "a39a4b3d0f411a8217b7c6dd35dc8b06003784ce32d3593d0d2d780a7e9c2f8c",
    "LICENSE-SAMPLECODE": "ddf9b5d9dd2fded18653e0ca4c5934008d4faea1161d754493b54a23c25eac14",
    "LICENSE-SUMMARY": "eeff5a6b129a319ee80e34762695dfa5349fe385a92c02168e6d21deff539f9c",
}
_METADATA = {
    **_LICENCES,
    **{f"licenses/{name}": digest for name, digest in _LICENCES.items()},
    "top_level.txt": "76fb6fc0251d42d3e4a336239854a50006c137448300ab6b1bb9797dd43dd1a1",
    "zip-safe": "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",
}

RELEASES = {
    "1.0.3": Release(
        "1.0.3",
        "en",
        "c625a01e66eb5d793a7e0a6f8582b1e1e35dfad02b5e77f3d2ab299d07177ba6",
        {
            "d2l/__init__.py": "4e83d2e09cfc05268a0cfb9ca814ff2944be67aba510b574e179bc1c55fbc60f",
            "d2l/jax.py": "a3ac6386405f93ca5de2eba8db02d78c6e250fd2d3424394526726d886ac0443",
            "d2l/mxnet.py": "932c1983a5d95af03f57d67c2c4b797426703f4b95b4b081c966cb3cb22ce3d0",
            "d2l/tensorflow.py": "6986e0a5274673f1eb3561a9d306a41bd014dd38cd52876b9d207d7ef4c9056a",
            "d2l/torch.py": "10e184aa1d334d9e0232872169eeb186f9426231c33efbb58ea4c42594cc5110",
        },
        _METADATA,
    ),
    "0.17.6": Release(
        "0.17.6",
        "zh",
        "2698f034d892e02de47ed100e22f114de0c93252c851bf492cf5088bd7c96e25",
        {
            "d2l/__init__.py": "b50b77a5cc91877335f9af1a7908b047e163b803821c21241ace832826fb8b12",
            "d2l/mxnet.py": "5057ee9e8defe57e63ae7bbb5d0906e7aa73da0da85c7162e9cb56bf6bbed8cc",
            "d2l/paddle.py": "3da15ccd6e8f30978f35f32210445671283c0d32325beeac25f2baf577d5db09",
            "d2l/tensorflow.py": "71c06442b73dd60e130d391bc6c11cb30f33fa34549a3990b204685baff693df",
            "d2l/torch.py": "3c173de4ee169b383e82f37877113115e8ca47bbe00274afc9215d2e5a70dcca",
        },
        _METADATA,
    ),
}


def differing(site_packages: Path, version: str) -> dict[str, str]:
    """Files of an installed d2l that are not the released ones.

    Args:
        site_packages: the folder that holds ``d2l/``.
        version: the installed version.

    Returns:
        path → ``missing``, ``changed`` or ``unreadable``; empty when every file is the released one.

    Raises:
        KeyError: no digests of ``version`` are known.
    """
    found: dict[str, str] = {}
    for name, wanted in RELEASES[version].files.items():
        try:
            data = (site_packages / name).read_bytes()
        except FileNotFoundError:
            found[name] = "missing"
        except OSError:
            found[name] = "unreadable"
        else:
            if hashlib.sha256(data).hexdigest() != wanted:
                found[name] = "changed"
    return found
