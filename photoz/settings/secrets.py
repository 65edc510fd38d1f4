"""Secrets in settings: refused before anything is written or printed, since run records and logs are for everybody."""

import re
from collections.abc import Mapping
from typing import Any

from photoz.errors import ConfigError

# Names in s3fs (key, secret, token), adlfs (account_key, sas_token, connection_string) and sftp (password); headers
# (Authorization, Cookie, x-api-key). Whatever comes before: a client may run the words together (sessiontoken).
_SECRET_OPTION = re.compile(
    r"(key|secret|token|password|passwd|passphrase|credentials?|connection_?string|authorization|cookie)$"
)
_NO_SECRETS = ("anon", "browser", "cache", "cloud", "google_default", "", False, None)  # gcsfs: ways to find a token
# https://user:password@host (RFC 3986): before the first slash, or "@" and ":" are of a name.
_PASSWORD = re.compile(r"(?<=://)[^/?#\s'\"]*:[^/?#\s'\"]*(?=@)")
# What signs a URL: S3's and Google's signatures, Azure's sig, the tokens and keys of HTTP servers.
_SIGNATURE = re.compile(
    r"(://[^\s'\"]*[?&][^=&\s]*(?:sig|signature|key|secret|token|password|credentials?)=)[^&\s'\"]+", re.IGNORECASE
)
_ELSEWHERE = "take it out and give it in the environment, as the store's client reads it (docs/object_store.md)"


def check_no_secrets(options: Mapping[str, Any], where: str) -> None:
    """Refuse storage options that are secrets: run records, which hold the settings, are for everybody to read.

    Parameters
    ----------
    options : mapping
    where : str
        Names of the sections around them, for the message.

    Raises
    ------
    ConfigError
        Of the option by its name, without its value.
    """
    for name, value in options.items():
        # Also within client_kwargs and the like, which go to the client beneath.
        parts = [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, Mapping)]
        for part in parts:
            check_no_secrets(part, f"{where}.{name}")
        if not parts and _SECRET_OPTION.search(name.lower()) and value not in _NO_SECRETS:
            raise ConfigError(f"{where}.{name} is a secret, which settings and run records must not hold: {_ELSEWHERE}")


def check_no_passwords(value: Any, where: str) -> None:
    """Refuse a URL that holds a password or a signature, wherever it stands in settings; raises `ConfigError`.

    Parameters
    ----------
    value : object
        Text, or mappings and lists of it; all else passes.
    where : str
        The setting, for the message, which does not repeat the URL.

    Examples
    --------
    >>> check_no_passwords({"endpoint_url": "https://store:9000", "name": "a:b@c"}, "storage.s3")
    """
    if isinstance(value, Mapping):
        for name, part in value.items():
            # A location may stand as a key, too.
            check_no_passwords(name, where)
            check_no_passwords(part, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list | tuple):
        for part in value:
            check_no_passwords(part, where)
    elif isinstance(value, str) and hide_secrets(value) != value:
        raise ConfigError(
            f"{where} holds a URL with a password or a signature in it, which settings, logs and run records must not "
            f"hold: {_ELSEWHERE}"
        )


def hide_secrets(text: str) -> str:
    """Return text in which what is secret in its URLs is replaced by stars.

    Examples
    --------
    >>> hide_secrets("no answer from 'https://ann:pw@store/a?X-Amz-Signature=12ab&b=1'")
    "no answer from 'https://***@store/a?X-Amz-Signature=***&b=1'"
    """
    if "://" not in text:
        return text
    return _SIGNATURE.sub(r"\1***", _PASSWORD.sub("***", text))
