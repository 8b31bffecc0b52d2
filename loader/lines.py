"""Cuts the bytes of a file into pieces of whole lines."""

from collections.abc import Iterable, Iterator

from loader.contract import MAX_LINE_BYTES, RefusedFileError


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
                raise RefusedFileError(line, "line_too_long", f"a line of more than {MAX_LINE_BYTES:,} bytes")
    except RefusedFileError as error:
        error.line = error.line or line
        raise
    if rest:
        yield line, 1, rest


def from_offset(blocks: Iterable[bytes], offset: int) -> Iterator[bytes]:
    """Yield what blocks hold from `offset` on."""
    for block in blocks:
        if offset < len(block):
            yield block[offset:] if offset else block
        offset = max(offset - len(block), 0)
