"""Kill a run of a small book at 20 random moments: `python tests/looks/book_kills.py PREFIX`.

As tests/books/test_resume.py does a few times; this prints how often notebooks were run.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from books.test_resume import COUNT, killed_and_resumed


def main() -> None:
    for number in (signal.SIGKILL, signal.SIGINT):
        with tempfile.TemporaryDirectory() as place:
            ran = killed_and_resumed(Path(sys.argv[1]).absolute(), Path(place), 20, number)
        again = sum(ran.values()) - COUNT
        print(f"{number.name}: 20 kills, {COUNT} notebooks, {again} runs of notebooks that a kill had lost")


if __name__ == "__main__":
    main()
