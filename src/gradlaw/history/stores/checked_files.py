"""The folder of a store as zarr reads it: a chunk that is missing or damaged is an error, not zeros."""

import asyncio
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.buffer.core import default_buffer_prototype
from zarr.storage import LocalStore

from gradlaw.history.stores.chunk_files import CHUNKS, read_chunk


class CheckedFiles(LocalStore):
    """The folder of a store whose every chunk was written.

    zarr takes a chunk that is not there for zeros. It is asked for by ``get``, or by ``get_sync`` in newer versions.
    """

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The file of a key.

        Raises:
            InputError: a chunk that is missing or damaged.
        """
        if CHUNKS not in Path(key).parts:
            return await super().get(key, prototype, byte_range)
        return _buffer(await asyncio.to_thread(read_chunk, self.root / key), prototype)

    def get_sync(self, key: str, **how: Any) -> Buffer | None:
        """The same at once."""
        if CHUNKS not in Path(key).parts:
            return super().get_sync(key, **how)
        return _buffer(read_chunk(self.root / key), how.get("prototype"))


def _buffer(content: bytes, prototype: BufferPrototype | None) -> Buffer:
    return (prototype or default_buffer_prototype()).buffer.from_bytes(content)
