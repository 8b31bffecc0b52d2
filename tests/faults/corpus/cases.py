"""Hundreds of invalid batch files: invalid values in all formats and positions, and damaged files.

`python -m tests.faults.corpus.cases FOLDER` writes them, with the expected error of each in `expected.json`.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.faults.corpus.packed import parquet, truncated
from tests.faults.corpus.text import Case, damaged_lines, headers, other_formats, values

__all__ = ["Case", "cases"]


def cases() -> Iterator[Case]:
    """Yield every case, always in the same order and with the same bytes."""
    yield from values()
    yield from damaged_lines()
    yield from other_formats()
    yield from headers()
    yield from parquet()
    yield from truncated()


def main() -> int:
    """Write all files."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.corpus.cases", description=__doc__)
    parser.add_argument("folder", type=Path, help="target directory; it is created")
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
