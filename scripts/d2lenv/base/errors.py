"""The one error that a user can mend; everything else is a bug and keeps its traceback."""

from __future__ import annotations

from d2lenv.base.messages import printable_lines, tr

FAILED = 1
"""Exit status: a finding, or a check or a command that failed."""

USAGE = 2
"""Exit status: the command's words, or the manifest that it names, are off."""

INTERRUPTED = 130
"""Exit status: stopped by Ctrl-C, as shells have it (128 + SIGINT)."""


class D2lEnvError(Exception):
    """What happened, why, and what to do next; shown without a traceback.

    The texts are already in the reader's language (see :func:`d2lenv.base.messages.tr`).
    """

    def __init__(self, what: str, *, why: str = "", fix: str = "", status: int = FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix
        self.status = status

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(tr("why: {reason}", reason=self.why))
        if self.fix:
            lines.append(tr("next: {step}", step=self.fix))
        # Names of files and lines of logs come from elsewhere.
        return printable_lines("\n".join(lines))

    def as_dict(self) -> dict[str, str]:
        """The same for ``--json``."""
        return {"error": self.what, "why": self.why, "fix": self.fix}
