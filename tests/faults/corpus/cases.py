"""Broken batch files by the hundred: each bad value in each format and at each place, and each way to spoil a file.

`python -m tests.faults.corpus.cases FOLDER` writes them, with what is expected of each in `expected.json`.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.faults.corpus.packed import cut, parquet
from tests.faults.corpus.text import Case, foreign, headers, spoilt, values

__all__ = ["Case", "cases"]


def cases() -> Iterator[Case]:
    """Yield every case, always the same."""
    yield from values()
    yield from spoilt()
    yield from foreign()
    yield from headers()
    yield from parquet()
    yield from cut()


def main() -> int:
    """Write every file."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.corpus.cases", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to; it is made")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for number, case in enumerate(cases()):
        name = f"{number:03}"
        (folder / name).write_bytes(case.data)
        expected[name] = {"what": case.name, "line": case.line, "reason": case.reason, "column": case.column}
    (folder / "expected.json").write_text(json.dumps(expected, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(expected)} files in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
