"""A copy of an environment that can be changed and put back, entry by entry."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Sandbox:
    """A prefix whose files may share their content with a cache: nothing is ever written in place.

    Attributes:
        root: the prefix.
        attic: a folder on the same disk for what was taken out.
        touched: the paths that were changed since the last :meth:`restore`.
    """

    root: Path
    attic: Path
    touched: list[str] = field(default_factory=list)
    _undo: list[tuple[Path, Path | None, int]] = field(default_factory=list)

    def take(self, path: str) -> Path:
        """Move an entry out of the prefix; return where it is now."""
        kept = self.attic / str(len(self._undo))
        (self.root / path).rename(kept)
        self._undo.append((self.root / path, kept, -1))
        self.touched.append(path)
        return kept

    def fresh(self, path: str) -> Path:
        """Give a file a content of its own, with the old mode and times; return its place."""
        shutil.copy2(self.take(path), self.root / path)
        return self.root / path

    def new(self, path: str) -> Path:
        """Return the place of an entry that is about to be made; its folders are made."""
        assert not os.path.lexists(self.root / path), path
        missing = [above for above in Path(path).parents if not (self.root / above).exists()]
        top = self.root / missing[-1] if missing else self.root / path
        self._undo.append((top, None, -1))
        self.touched.append(path)
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        return self.root / path

    def chmod(self, path: str, change: int, *, clear: bool = False) -> None:
        """Set or clear bits of a mode, of a file's own copy or of the folder itself."""
        place = self.root / path
        mode = place.stat().st_mode & 0o7777
        if place.is_dir():
            self._undo.append((place, place, mode))
            self.touched.append(path)
        else:
            self.fresh(path)
        place.chmod(mode & ~change if clear else mode | change)

    def beside(self, path: Path) -> None:
        """Note that ``path``, beside the prefix, is about to be made or moved away."""
        kept = self.attic / str(len(self._undo))
        if path.exists():
            path.rename(kept)
            shutil.copy2(kept, path)
            self._undo.append((path, kept, -1))
        else:
            self._undo.append((path, None, -1))
        self.touched.append(f"../{path.name}")

    def restore(self) -> None:
        """Put everything back as it was."""
        for place, kept, mode in reversed(self._undo):
            if mode >= 0:
                place.chmod(mode)
                continue
            if place.is_symlink() or not place.is_dir():
                place.unlink(missing_ok=True)
            else:
                shutil.rmtree(place)
            if kept is not None:
                kept.rename(place)
        self._undo.clear()
        self.touched.clear()


def rewrite(place: Path, data: bytes) -> None:
    """Replace the content of a file that is nobody else's, keeping its mode."""
    place.write_bytes(data)


def keep_times(place: Path, data: bytes) -> None:
    """The same so that size and times do not show it, if the size is the same."""
    status = place.stat()
    place.write_bytes(data)
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
