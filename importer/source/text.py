"""Text that went through a connection which took its bytes for latin1.

Such an installation looks right to itself, because what is wrong on the way in is undone on the way out. Everybody
else reads two or three letters with accents for each Chinese one.
"""

from __future__ import annotations

from gateway.core.errors import InvalidValue

# What the server calls latin1 is Windows' code page, with the control characters in its five holes.
_HOLES = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
_BYTES = {(chr(byte) if byte in _HOLES else bytes([byte]).decode("cp1252")): byte for byte in range(256)}


def checked_charset(charset: str | None, field: str = "--source-charset") -> bool:
    """Whether texts are to be repaired. Raises `InvalidValue`."""
    name = (charset or "utf8mb4").strip().lower().replace("-", "").replace("_", "")
    if name in {"latin1", "cp1252", "windows1252", "iso88591"}:
        return True
    if name in {"utf8", "utf8mb3", "utf8mb4"}:
        return False
    raise InvalidValue(
        field, charset, "utf8mb4 (the default), or latin1 if the old admin wrote through a latin1 connection"
    )


def repaired(text: str) -> str | None:
    """The text that was meant; None if its bytes are no UTF-8, e.g. because they were cut off."""
    try:
        raw = bytes(_BYTES[letter] for letter in text)
    except KeyError:
        return text  # letters beyond latin1 never went through such a connection
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
