"""The hub: asked only for a data set that is named by a hub id, and not at all offline."""

import os
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

from gradlaw.errors import InputError

_OFFLINE = "HF_HUB_OFFLINE"
_TRUE = ("1", "ON", "YES", "TRUE")
_SECONDS = 10.0


def stay_offline() -> None:
    """Ask nothing of the hub in this process, nor in those that it starts; what is in its cache is read."""
    os.environ[_OFFLINE] = "1"


def is_offline() -> bool:
    """Whether the environment forbids to ask, as the hub's own library reads it."""
    return os.environ.get(_OFFLINE, "").upper() in _TRUE


def check_reachable(spec: str) -> None:
    """Refuse a hub that cannot be reached at once, instead of after the retries of its library.

    Args:
        spec: the data set that is asked for, for the message.

    Raises:
        InputError: its machine has no address here, or takes no connection.
    """
    from huggingface_hub.constants import ENDPOINT  # heavy, and only the hub needs it

    if is_offline() or getproxies():
        return  # offline its cache answers; a proxy knows addresses that are none here
    host = urlsplit(ENDPOINT)
    port = host.port or (443 if host.scheme == "https" else 80)
    try:
        socket.create_connection((host.hostname or "", port), _SECONDS).close()
    except OSError as error:
        raise InputError(
            f"the data set {spec!r} is on the hub, which cannot be reached ({host.hostname}: "
            f"{error.strerror or error}); give a local folder, or --offline ({_OFFLINE}=1) to use what its cache has"
        ) from error
