"""Splits the bytes of a file into pieces of whole lines, and rows from the empty lines at the end.

Each line ends in LF or CRLF; a file may mix them.
"""

from collections.abc import Iterable, Iterator

from ratesflow.loader.dataset import MAX_LINE_BYTES, SHOWN, FileRejectedError, Violation, violation

# The violation of an empty line with rows after it: empty lines at the end of a file are skipped.
EMPTY_LINE = Violation(
    "", "", "wrong_field_count", "an empty line; empty lines are allowed only at the end of the file"
)


def whole_lines(blocks: Iterable[bytes], first_line: int) -> Iterator[tuple[int, int, bytes]]:
    """Split blocks of a file at line ends; yield each piece after the number of its first line and its number of lines.

    Raises FileRejectedError at a line of more than 64 KiB that does not end in its block. A FileRejectedError of
    `blocks` without a line gets the number of the line that is being read.
    """
    line, rest = first_line, b""
    try:
        for block in blocks:
            end = block.rfind(b"\n") + 1
            if end:
                piece = rest + block[:end] if rest else block[:end]
                rest = block[end:]
                lines = piece.count(b"\n")
                yield line, lines, piece
                line += lines
            else:
                rest += block
            if len(rest) > MAX_LINE_BYTES:
                raise FileRejectedError(line, "line_too_long", f"a line of more than {MAX_LINE_BYTES:,} bytes")
    except FileRejectedError as error:
        error.line = error.line or line
        raise
    if rest:
        yield line, 1, rest


def rows_end(piece: bytes) -> int:
    """Return the offset of the empty lines at the end of a piece of whole lines: its size if there are none."""
    if not piece.endswith((b"\n\n", b"\n\r\n")) and piece not in (b"\n", b"\r\n"):
        return len(piece)
    text = len(piece.rstrip(b"\r\n"))
    end = piece.find(b"\n", text) + 1 if text else 0
    # Only line ends follow. A line with an extra carriage return is not empty.
    stray = piece.rfind(b"\r\r", end)
    return end if stray < 0 else piece.find(b"\n", stray) + 1


def between(blocks: Iterable[bytes], start: int, stop: int | None = None) -> Iterator[bytes]:
    """Yield the bytes from one offset to another, or to the end; all blocks are read."""
    at = 0
    for block in blocks:
        wanted = block[max(start - at, 0) : None if stop is None else max(stop - at, 0)]
        if wanted:
            yield wanted
        at += len(block)


def with_plain_ends(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines with CRLF replaced by LF, since COPY accepts only one kind of line end."""
    held = b""
    for block in blocks:
        text = held + block
        held = b"\r" if text.endswith(b"\r") else b""
        yield text.removesuffix(held).replace(b"\r\n", b"\n")
    if held:
        yield held


def unreadable(line: bytes) -> Violation | None:
    """Return the violation of a line that is too long or that PostgreSQL cannot store as text, or None."""
    shown = line[: SHOWN + 1].decode(errors="replace")
    if len(line) > MAX_LINE_BYTES:
        return violation("", shown, "line_too_long", f"{len(line):,} bytes in one line; at most {MAX_LINE_BYTES:,}")
    if b"\0" in line:
        return violation("", shown, "nul_byte", f"a NUL byte at byte {line.index(0) + 1} of the line")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return violation("", shown, "invalid_utf8", f"not UTF-8 at byte {error.start + 1} of the line")
    return None


def unsplittable(line: bytes) -> Violation | None:
    """Return the violation of a line that cannot be split into fields, or None."""
    shown = line[: SHOWN + 1].decode(errors="replace")
    if b"\r" in line:
        return violation("", shown, "line_end", "a carriage return inside a line; lines end in LF or CRLF")
    if line.count(b'"') % 2:
        return violation("", shown, "open_quote", "a quote that is not closed on its line; a row is one line")
    return None
