"""Files that carry a digest of their content, so that what was changed on the disk is never read as data."""

import hashlib
from pathlib import Path

from gradlaw.errors import InputError

_DIGEST = hashlib.sha256
_DIGEST_BYTES = _DIGEST().digest_size


def sealed(content: bytes) -> bytes:
    """The content with the SHA-256 digest of it behind; what is written to a file."""
    return content + _DIGEST(content).digest()


def unsealed(path: Path, remedy: str) -> bytes:
    """The content of a file that :func:`sealed` made.

    Args:
        path: of the file.
        remedy: what to do if it is damaged, for the message.

    Raises:
        InputError: the file is not what was written.
    """
    whole = path.read_bytes()
    content, digest = whole[:-_DIGEST_BYTES], whole[-_DIGEST_BYTES:]
    if _DIGEST(content).digest() != digest:
        raise InputError(f"{path} is damaged: its digest is not that of its bytes; {remedy}")
    return content
