"""Makes texts from outside safe to store, send and print: messages of a task, reasons that people type, values."""

import unicodedata

LONGEST = 10_000


def plain(text: str) -> str:
    """Return a text that PostgreSQL, JSON and XML accept: control characters escaped, cut to LONGEST characters.

    Line ends and tabs stay. PostgreSQL rejects NUL, and UTF-8 cannot encode a lone surrogate.
    """
    kept = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return "".join(character if _is_safe(character) else f"\\x{ord(character):02x}" for character in kept)


def _is_safe(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")


def printable(text: str) -> str:
    """Return a text with each character that is not printable as its escape."""
    if text.isprintable():
        return text
    # PostgreSQL's JSON rejects NUL, UTF-8 rejects lone surrogates, and control characters move a terminal's cursor.
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
