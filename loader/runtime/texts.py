"""Texts that others wrote, made fit to be kept and sent: what a task said, what a person gave as a reason."""

import unicodedata

LONGEST = 10_000


def plain(text: str) -> str:
    """Return a text that PostgreSQL, JSON and XML take: control characters become escapes, what is too long is cut.

    Line ends and tabs stay. PostgreSQL knows no NUL, and UTF-8 no half of a surrogate pair.
    """
    kept = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return "".join(sign if _fits(sign) else f"\\x{ord(sign):02x}" for sign in kept)


def _fits(sign: str) -> bool:
    return sign in "\n\t" or unicodedata.category(sign) not in ("Cc", "Cs")


def printable(text: str) -> str:
    """Return a text with each character that is not printable as its escape."""
    if text.isprintable():
        return text
    # PostgreSQL's JSON rejects NUL, UTF-8 rejects half a surrogate pair, and other characters move the cursor.
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
