"""A short run of fuzz.py: libFuzzer derives some hundred inputs for each parser from examples of the corpus."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.corpus.cases import cases

PARSERS = ("any_file", "csv_lines", "json_lines", "parquet", "gzip", "query")
RUNS = int(os.environ.get("RATESFLOW_FUZZ_RUNS", "300"))
EXAMPLES, LONGEST = 40, 4096


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with files of the corpus of different kinds."""
    folder = tmp_path_factory.mktemp("corpus")
    small = [case.data for case in cases() if len(case.data) <= LONGEST]
    for number, data in enumerate(small[:: len(small) // EXAMPLES]):
        (folder / str(number)).write_bytes(data)
    (folder / "query").write_bytes(b"2021-01-31\x002021-02-10\x00CNSHA\x00NLRTM")
    return folder


@pytest.mark.parametrize("parser", PARSERS)
def test_fuzzed_input_is_accepted_or_rejected(parser: str, examples: Path, tmp_path: Path) -> None:
    """Each input that libFuzzer derives is accepted, or rejected with a line and a message."""
    pytest.importorskip("atheris", reason="run this on Linux on x86-64: atheris has no other wheel")
    found = tmp_path / "found"  # libFuzzer writes new inputs into the first folder
    found.mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.faults.corpus.fuzz",
        parser,
        f"-runs={RUNS}",
        "-seed=1",
        f"-max_len={LONGEST}",
    ]
    command += ["-timeout=20", f"-artifact_prefix={tmp_path}/", str(found), str(examples)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {RUNS} runs" in done.stderr
