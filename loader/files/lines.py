"""Cuts the bytes of a file into pieces of whole lines, and tells rows from the empty lines at the end.

A line ends in LF or CRLF, each as it likes.
"""

from collections.abc import Iterable, Iterator

from ratesflow.loader.freight.schema import MAX_LINE_BYTES, FileRejectedError


def whole_lines(blocks: Iterable[bytes], first_line: int) -> Iterator[tuple[int, int, bytes]]:
    """Cut blocks of a file at line ends; yield the number of each piece's first line, how many it has, and the piece.

    Raises RefusedFileError at a line of more than 64 KiB that a block does not end. One that the blocks raise
    without a line gets the number of the line that was under way.
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
    """Return where the empty lines at the end of a piece of whole lines begin: its size when there are none."""
    if not piece.endswith((b"\n\n", b"\n\r\n")) and piece not in (b"\n", b"\r\n"):
        return len(piece)
    signs = len(piece.rstrip(b"\r\n"))
    end = piece.find(b"\n", signs) + 1 if signs else 0
    # From here on there are but ends of lines. A carriage return more than those have makes a line no empty one.
    stray = piece.rfind(b"\r\r", end)
    return end if stray < 0 else piece.find(b"\n", stray) + 1


def between(blocks: Iterable[bytes], start: int, stop: int | None = None) -> Iterator[bytes]:
    """Yield what blocks hold from one offset to another, or to their end; all blocks are taken."""
    at = 0
    for block in blocks:
        wanted = block[max(start - at, 0) : None if stop is None else max(stop - at, 0)]
        if wanted:
            yield wanted
        at += len(block)


def with_plain_ends(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines that end in LF or CRLF with LF alone, which COPY wants to be alike."""
    held = b""
    for block in blocks:
        text = held + block
        held = b"\r" if text.endswith(b"\r") else b""
        yield text.removesuffix(held).replace(b"\r\n", b"\n")
    if held:
        yield held
