"""Whether a cluster's address answers at all, asked before a library waits for it for minutes and says nothing."""

import re
import socket

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from photoz.errors import ConfigError

PATIENCE = 20.0
"""[s] A head that has just been started, or a name that has just been published, may answer a little later."""
# IPv6 addresses in brackets, or their colons would pass for that of the port.
_PLACE = re.compile(r"(?:\w+://)?(?P<host>\[[^\]]+\]|[^:/\[\]]+):(?P<port>\d+)/?")


def check_address(address: str, origin: str, remedy: str) -> None:
    """Refuse the address of a cluster that does not take a connection.

    Parameters
    ----------
    address : str
        ``host:port``, with or without a protocol before it. Any other form ("auto") is left to the library.
    origin : str
        Setting or environment variable that it comes from.
    remedy : str
        What else may be done than to correct it.

    Raises
    ------
    ConfigError
        Nothing has answered for `PATIENCE` seconds.
    """
    place = _PLACE.fullmatch(address)
    if place is None:
        return
    patient = Retrying(
        stop=stop_after_delay(PATIENCE), wait=wait_fixed(1.0), retry=retry_if_exception_type(OSError), reraise=True
    )
    try:
        patient(_connect, place["host"].strip("[]"), int(place["port"]))
    except OSError as error:
        raise ConfigError(
            f"no cluster answers at {address!r}, which {origin} names ({error}): start it, correct the address, or "
            f"{remedy}"
        ) from error


def _connect(host: str, port: int) -> None:
    # Its own limit: a host that drops what is sent to it would keep each try for minutes.
    with socket.create_connection((host, port), timeout=5.0):
        pass
