"""One piece of damage, as the campaigns of ``damage.py`` and ``kills.py`` do it to files."""

import random
from pathlib import Path

KINDS = ("a bit", "a block of bytes", "truncated", "missing")
_BLOCK = 64  # bytes at most


def damage_file(path: Path, rng: random.Random) -> str:
    """Change a bit or a block of bytes of a file, cut it off, or remove it; returns which of ``KINDS``."""
    kind, content = rng.choice(KINDS), bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    path.unlink()
    if kind == "missing":
        return kind
    if kind == "a bit":
        content[place] ^= 1 << rng.randrange(8)
    elif kind == "a block of bytes":
        content[place : place + _BLOCK] = rng.randbytes(len(content[place : place + _BLOCK]))
    else:
        del content[place:]
    path.write_bytes(content)
    return kind
