"""Gzip: compressed and plain files have the same result; broken files and bombs are rejected in bounded memory."""

import gzip
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratesflow.loader.dataset import FileRejectedError
from ratesflow.loader.files.gunzip import unpacked
from tests.loader.reading_files import copied_rows, counted, fetch_from, recounted, text_for_copy, validated

HEADER = b"orig_code,dest_code,day,price\n"
ROW = b"CNSHA,NLRTM,2021-01-31,5\n"
lines = st.sampled_from([ROW, ROW, ROW, b"USNYC,NLRTM,2024-02-29,007\n", b'"CNSHA",NLRTM,2021-01-01,"9"\n', b"CNSHA\n"])
texts = st.lists(lines, max_size=12).map(lambda found: HEADER + b"".join(found))


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3), st.integers(1, 40), st.integers(0, 20))
@settings(max_examples=300, deadline=None)
def test_any_members_in_any_blocks_unpack_to_the_text(data: bytes, cuts: list[int], block: int, zeros: int) -> None:
    """Members one after another, padded with zeros or not, are one text, however the blocks are cut."""
    ends = [0, *sorted(cuts), len(data)]
    packed = (
        b"".join(gzip.compress(data[ends[at] : ends[at + 1]], mtime=0) for at in range(len(ends) - 1)) + b"\0" * zeros
    )
    assert b"".join(unpacked(fetch_from(packed, block)(0, len(packed)), len(packed))) == data


@given(texts, st.integers(1, 60), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_no_part_of_a_file_is_taken_for_the_whole(data: bytes, missing: int, block: int) -> None:
    """A truncated file is rejected."""
    packed = gzip.compress(data, mtime=0)
    cut = packed[: max(len(packed) - missing, 0)]
    with pytest.raises(FileRejectedError) as rejected:
        b"".join(unpacked(fetch_from(cut, block)(0, len(cut)), len(cut)))
    assert rejected.value.reason == "truncated_gzip"


@given(data=texts)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packed_and_plain_are_validated_and_copied_alike(connection: Any, data: bytes) -> None:
    """Reports are the same, and so are the bytes for COPY, which takes what was accepted with the same values."""
    report, reading = validated(data)
    packed_report, packed_reading = validated(gzip.compress(data, mtime=0))
    assert packed_report == report
    if report.accepted:
        assert text_for_copy(gzip.compress(data, mtime=0), packed_reading) == text_for_copy(data, reading)
        assert recounted(copied_rows(connection, gzip.compress(data, mtime=0), packed_reading)) == counted(reading)


def bomb(text: bytes, times: int) -> bytes:
    """Return a gzip file of the header and a text many times over."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([packer.compress(HEADER), *(packer.compress(text) for _ in range(times)), packer.flush()])


@pytest.mark.parametrize(
    ("text", "reason"),
    [(ROW * 40_000, "unpacks_too_large"), (b"\0" * 1_000_000, "line_too_long")],
    ids=["rows", "zeros"],
)
def test_a_bomb_is_rejected_in_bounded_memory(text: bytes, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that decompresses to a huge text is rejected long before it is decompressed."""
    monkeypatch.setattr("ratesflow.loader.files.limits.RATIO_FREE_BYTES", 8_000_000)
    data = bomb(text, 100)
    tracemalloc.start()
    report, _ = validated(data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.reasons == {reason: 1}
    assert report.rows < 2_100_000  # of 4,000,000
    assert most < 60_000_000


def test_the_limits_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both limits can be raised and lowered."""
    monkeypatch.setattr("ratesflow.loader.files.limits.RATIO_FREE_BYTES", 100_000)
    data = bomb(ROW, 20_000)
    assert validated(data)[0].reasons == {"unpacks_too_large": 1}
    monkeypatch.setenv("RATESFLOW_MAX_COMPRESSION_RATIO", "2000")
    assert validated(data)[0].accepted
    monkeypatch.setenv("RATESFLOW_MAX_UNCOMPRESSED_BYTES", "400000")
    assert validated(data)[0].reasons == {"unpacks_too_large": 1}
