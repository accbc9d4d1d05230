"""What tells the other ranks, at once and by name, that one has ended, however it did: an open connection to each.

A collective waits for a rank that is gone, for as long as its time limit says, and that limit has to allow for long
work of one rank. The operating system closes the connections of a process that ends, also of one that is killed, and
finds out by itself within half a minute that a machine is gone; no rank has to answer in time for that, so that long
work of one is no silence. Ranks are connected to the first, which tells the others.
"""

import json
import os
import secrets
import selectors
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from gradlaw.errors import InputError, RankLost, printable

STATUS = 1  # of a process that ends because another has
_GRACE = 10.0  # seconds for the work to end by itself, once a collective has failed
_CONNECT_SECONDS = 20.0
_DONE, _FAILED = "done", "failed"
# Ten seconds of silence, then four questions five seconds apart; by the names that some systems lack.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}


class Lifeline:
    """Connections between ranks while they work together: a context manager around that work.

    Where a rank ends before the work does, every other one prints its name; if their own work has not ended some
    seconds later, because it waits for what will never come, their processes end with status 1.

    Args:
        rank: of this process.
        size: how many ranks there are.
        gather: the texts of all ranks, in their order, for one of each.
    """

    def __init__(self, rank: int, size: int, gather: Callable[[str], list[str]]):
        self.rank, self.size, self._gather = rank, size, gather
        self.agreed = False  # that all ranks end with an error, which they know of
        self._lost, self._lost_rank = "", rank
        self._ended, self._told = threading.Event(), threading.Event()
        self._peers: dict[socket.socket, int] = {}
        self._wake, self._woken = socket.socketpair()

    def __enter__(self) -> "Lifeline":
        server, token = (socket.create_server(("", 0)), secrets.token_hex(16)) if self.rank == 0 else (None, "")
        hosts = list(dict.fromkeys(filter(None, (os.environ.get("MASTER_ADDR"), socket.gethostname(), "localhost"))))
        port = server.getsockname()[1] if server else 0
        own = hosts, port, token, f"process {os.getpid()} on {socket.gethostname()}"
        everyone = [json.loads(text) for text in self._gather(json.dumps(own))]
        self._names = [f"rank {rank} of {self.size} ({who[3]})" for rank, who in enumerate(everyone)]
        hosts, port, token, _ = everyone[0]
        if server is None:
            self._peers = {_connected(hosts, port, f"{token} {self.rank}"): 0}
        else:
            with server:
                self._peers = _accepted(server, token, self.size - 1)
        for peer in self._peers:
            _keep_alive(peer)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        for peer in self._peers:
            _send(peer, _DONE if error is None or self.agreed else f"{_FAILED} {self._lost_rank}")
        _send(self._wake, _DONE)
        self._watcher.join()
        for connection in (*self._peers, self._wake, self._woken):
            connection.close()

    def explain(self, error: RuntimeError) -> RuntimeError:
        """The error of a collective: :class:`RankLost`, if it failed because a rank has ended."""
        return RankLost(self._lost) if self._told.wait(_GRACE / 2) else error

    def _watch(self) -> None:
        """Until every peer has said that it is done, or one has ended otherwise."""
        with selectors.DefaultSelector() as selector:
            for peer, rank in (*self._peers.items(), (self._woken, self.rank)):
                selector.register(peer, selectors.EVENT_READ, rank)
            while not self._ended.is_set():
                for key, _ in selector.select():
                    said = _received(key.fileobj)
                    selector.unregister(key.fileobj)
                    if said != _DONE:
                        self._tell(int(said.split()[-1]) if said else key.data)
                        return

    def _tell(self, rank: int) -> None:
        """Say that a rank has ended, here and to those connected here; end this process where its work does not."""
        if self._ended.is_set():
            return
        self._lost_rank = rank
        self._lost = f"{self._names[rank]} has ended amid the work; start it again, with any number of ranks"
        self._told.set()
        for peer in self._peers:
            _send(peer, f"{_FAILED} {rank}")
        if not self._ended.wait(0.5):  # an error that all ranks know of ends their work by itself
            print(printable(f"gradlaw: {self._lost}"), file=sys.stderr, flush=True)
        if not self._ended.wait(_GRACE):
            os._exit(STATUS)


def _connected(hosts: list[str], port: int, greeting: str) -> socket.socket:
    """A connection to the first rank, by the first of its addresses where it answers."""
    failures = []
    for host in hosts:
        try:
            peer = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
            _send(peer, greeting)
            if _received(peer) == greeting:
                peer.settimeout(None)
                return peer
            failures.append(f"{host}: another program answers")
        except OSError as error:
            failures.append(f"{host}: {error}")
    raise InputError(f"rank 0 cannot be reached at port {port} ({'; '.join(failures)}); open it between the machines")


def _accepted(server: socket.socket, token: str, count: int) -> dict[socket.socket, int]:
    """The connections of all other ranks; others are turned away."""
    server.settimeout(_CONNECT_SECONDS * 3)
    peers: dict[socket.socket, int] = {}
    while len(peers) < count:
        try:
            peer, _ = server.accept()
        except TimeoutError as error:
            raise InputError(f"{count - len(peers)} of {count} ranks did not reach rank 0 by a connection") from error
        peer.settimeout(_CONNECT_SECONDS)
        greeting = _received(peer)
        given, _, rank = greeting.partition(" ")
        if secrets.compare_digest(given, token) and rank.isdigit():
            _send(peer, greeting)
            peer.settimeout(None)
            peers[peer] = int(rank)
        else:
            peer.close()
    return peers


def _send(peer: socket.socket, text: str) -> None:
    with suppress(OSError):  # who is gone needs no word; the reader of this connection sees it
        peer.sendall(f"{text}\n".encode())


def _received(peer: Any) -> str:
    """One line; nothing where the connection has ended."""
    line = b""
    try:
        while not line.endswith(b"\n") and len(line) < 200:
            byte = peer.recv(1)
            if not byte:
                return ""
            line += byte
    except OSError:
        return ""
    return line.decode(errors="replace").strip()


def _keep_alive(peer: socket.socket) -> None:
    """Have the system ask a silent machine whether it is there, and close the connection after half a minute."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
