"""The token that clients must show where the server has one."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import stat
from pathlib import Path

from cmudrn.errors import FileError, InvalidSettingError

OPEN_PATHS = frozenset({"/health"})
"""Answered without a token, for health checks."""
ASK = {"WWW-Authenticate": 'Basic realm="CMUDRN", charset="UTF-8"'}
"""Makes a browser ask for the token, as the password of any name."""

_SHORTEST, _LONGEST = 16, 1000


def read_token(path: Path) -> str:
    """Return the token in a file's only line.

    Raises:
        FileError: the file cannot be read, or other users of the machine may read it.
        InvalidSettingError: it does not hold one line of 16 to 1,000 printable characters.
    """
    try:
        status = path.stat()
        text = path.read_text(encoding="utf-8")[: _LONGEST + 2].rstrip("\r\n")
    except OSError as error:
        sentence = f"Cannot read the token in {path}: {error.strerror}."
        raise FileError(sentence, path=path) from error
    except ValueError as error:  # a name that is none, or bytes that are no text
        sentence = f"{path} does not hold a token: it is not text."
        raise FileError(sentence, path=path) from error
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
        raise FileError(
            f"{path} holds a token, and other users may read it; take their rights away "
            f"(chmod 600).",
            path=path,
        )
    if not (_SHORTEST <= len(text) <= _LONGEST and text.isascii() and text.isprintable()):
        raise InvalidSettingError(
            f"{path} does not hold a token: one line of {_SHORTEST} to {_LONGEST:,} printable "
            "ASCII characters.",
            setting="token_file",
        )
    return text


def is_allowed(token: str, path: str, authorization: str) -> bool:
    """Return whether a request may pass.

    Args:
        token: what clients must show.
        path: of the request.
        authorization: its header, `Bearer TOKEN` or `Basic` with the token as password; "" for
            none.
    """
    if path in OPEN_PATHS:
        return True
    kind, _, shown = authorization.partition(" ")
    if kind.lower() == "basic":
        try:
            shown = base64.b64decode(shown, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return False
    elif kind.lower() != "bearer":
        return False
    return hmac.compare_digest(shown.strip().encode(), token.encode())
