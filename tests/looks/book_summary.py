"""Keep whole runs of books for docs/book-runs.md: `python tests/looks/book_summary.py REPORT/result.json`.

Then `python docs/generate.py` makes the tables. A run that is not complete is refused.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from d2lenv.books import coverage

KEPT = Path(__file__).resolve().parents[2] / "docs" / "book_runs"


def main() -> None:
    for name in sys.argv[1:]:
        document = json.loads(Path(name).read_text(encoding="utf-8"))
        if not document["complete"]:
            sys.exit(f"{name}: {document['ended']} of {document['code']} notebooks have run")
        KEPT.mkdir(exist_ok=True)
        path = KEPT / f"{document['book']}-{document['environment']}.json"
        path.write_text(coverage.small(document), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
