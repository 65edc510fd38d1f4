"""Small helpers over fsspec: locations are strings, whatever store they lie in.

A file appears under its name whole or not at all: local files are written aside and renamed; an object store shows an
object only once its upload is complete.

What a run tells the clients of its stores (`StorageOptions`) is an object of its settings that the engine hands to
each worker with the work. The worker takes it up by `use_options`, and `find_filesystem`, through which all of photoz
opens, looks there. One for a process, not one for a thread: fsspec, Zarr, obstore and our own readers open in threads
that know nothing of who started them; so a process works for one run at a time. Not in fsspec's own settings: those are
the user's (files and environment variables) and lie beneath ours, and who else opens files in a worker of a shared
cluster must not find ours there. Libraries that open by themselves are handed the options (`make_upath`, Zarr's and
obstore's stores) or a file system that has them (pyarrow's, in Ray Data).
"""

import errno
import glob
import hashlib
import json
import mimetypes
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import IO, TYPE_CHECKING, Any

from fsspec import get_filesystem_class
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import get_protocol

from photoz.errors import PhotozError, StorageFullError

if TYPE_CHECKING:
    # For the type alone: hats asks for it, and who opens files by fsspec need not have it.
    from upath import UPath

_HASH_BLOCK = 1 << 22  # bytes read at a time

# A quota that is used up is as full as a disk.
_FULL = {errno.ENOSPC, errno.EDQUOT}
# Asking again brings the same. A full disk is among them: it does not empty while a job waits.
_ANSWERS = _FULL | {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ENAMETOOLONG,
    errno.EROFS, errno.EEXIST, errno.EFBIG, errno.ELOOP,
}  # fmt: skip
_REMEDIES = {
    "make room and run again, what is done stays done": _FULL,
    "give a place that may be read and written to, or the right to it": {errno.EACCES, errno.EPERM, errno.EROFS},
    "a file lies where a folder is due, or a folder where a file is: give another place": {
        errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY
    },
    "give a shorter name": {errno.ENAMETOOLONG},
    "correct the location": {errno.ENOENT, errno.ELOOP, errno.EINVAL},
    "raise the greatest size of a file (ulimit -f)": {errno.EFBIG},
    "raise the number of files that may be open (ulimit -n)": {errno.EMFILE, errno.ENFILE},
}  # fmt: skip
"""What helps, by what the machine says."""
# Of libraries whose errors pass as they are: the first two through s3fs, while obstore raises its own.
_CLIENTS = {"aiohttp", "botocore", "obstore"}

JsonObject = dict[str, Any]
"""A JSON object that anyone may have written, or that lacks what a later version writes: who reads it looks first."""
ClientOptions = dict[str, Any]
"""fsspec's options of one client, each of which has names and types of its own."""

PART_SUFFIX = ".part"
"""Of a file that is being written; one that stays was left behind by a process that died."""


@dataclass(frozen=True)
class StorageOptions:
    """What a run tells the clients of its stores; small enough to send everywhere.

    Parameters
    ----------
    by_protocol : mapping of str to mapping
        fsspec's options by protocol: ``{"s3": {"endpoint_url": "http://..."}}``. They count before those in fsspec's
        own settings.
    """

    by_protocol: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def find(self, location: str) -> ClientOptions:
        """Find the options for a location, under any name of its protocol (``s3`` and ``s3a``).

        >>> StorageOptions({"s3": {"anon": True}}).find("s3a://bucket/name")
        {'anon': True}
        """
        return self.find_for(get_protocol(location))

    def find_for(self, protocol: str) -> ClientOptions:
        """Find the options for a protocol; none where it is not known."""
        if not self.by_protocol:
            return {}
        try:
            names = get_filesystem_class(protocol).protocol
        # What fsspec does not know it refuses when it opens, in words of its own.
        except ValueError:
            return {}
        names = (names,) if isinstance(names, str) else names
        return {key: value for name in names for key, value in self.by_protocol.get(name, {}).items()}


_options = StorageOptions()


def use_options(options: StorageOptions) -> None:
    """Open everything in this process with these options from now on; see the head of this module."""
    # Of the process, for threads of libraries that know nothing of who started them.
    global _options
    _options = options


def find_options(location: str) -> ClientOptions:
    """Find what this process tells a location's client, for a library that opens it by itself."""
    return _options.find(location)


def find_filesystem(location: str) -> tuple[Any, str]:
    """Find the file system of a location, and the path within it.

    Parameters
    ----------
    location : str
        A path or any URL that fsspec opens, also one chained with ``::``.

    Returns
    -------
    filesystem : fsspec.AbstractFileSystem
        With this process's options (`use_options`).
    path : str

    Raises
    ------
    PhotozError
        The protocol is not known, or the package of its client is not installed.
    """
    # Each part of a chain takes its own options; a part may be a protocol alone (``simplecache::s3://...``).
    *outer, inner = location.split("::")
    protocols = [*(part.partition("://")[0] for part in outer), get_protocol(inner)]
    told = {protocol: options for protocol in protocols if (options := _options.find_for(protocol))}
    try:
        found: tuple[Any, str] = url_to_fs(location, **told)
    # Of a store whose package is not there, with its name.
    except ImportError as error:
        raise PhotozError(f"{location!r} cannot be opened: {error}") from error
    except ValueError as error:
        # By its words alone fsspec tells this error from what a client says of its options.
        if "Protocol not known" not in str(error):
            raise
        raise PhotozError(f"{location!r} is of no store that fsspec knows ({error}): correct it") from error
    return found


def open_file(location: str, mode: str = "rb") -> Any:
    """Open a file for reading, as bytes or, with ``rt``, as text; `open_atomic` writes."""
    filesystem, path = find_filesystem(location)
    return filesystem.open(path, mode)


def join(location: str, *parts: str) -> str:
    """Join a location and names with slashes.

    >>> join("s3://bucket/run/", "dataset", "a.parquet")
    's3://bucket/run/dataset/a.parquet'
    """
    return "/".join([location.rstrip("/"), *parts])


def make_upath(location: str) -> "UPath":
    """Return a location as the path object that `hats` and `hats-import` take.

    It carries the storage options of this process with it to others, and keeps `hats` from opening S3 anonymously,
    which it does with plain strings.
    """
    from upath import UPath

    path: UPath = UPath(location, **find_options(location))
    return path


def exists(location: str) -> bool:
    """Tell whether a file or folder exists."""
    filesystem, path = find_filesystem(location)
    filesystem.invalidate_cache()  # another process may have written or removed it since
    return bool(filesystem.exists(path))


def is_file(location: str) -> bool:
    """Tell whether there is a file, and no folder, at a location."""
    filesystem, path = find_filesystem(location)
    return bool(filesystem.isfile(path))


def list_folder(folder: str, names: str = "*") -> list[str]:
    """List what lies directly in a folder, sorted, as locations of the same form as the folder's.

    A location is a name, never a pattern: ``[``, ``*`` and ``?`` in ``folder`` stand for themselves.

    Parameters
    ----------
    folder : str
    names : str
        What the names must match (`fnmatch`); written by the program, never made from a user's text.

    Returns
    -------
    list of str
        Empty when nothing matches or the folder does not exist.
    """
    filesystem, path = find_filesystem(folder)
    filesystem.invalidate_cache()
    try:
        entries = filesystem.ls(path, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    # An object store lists a folder's own placeholder, too, and a file as its only entry.
    inside = (str(entry).rstrip("/") for entry in entries if str(entry).rstrip("/") != path.rstrip("/"))
    found = {entry.rpartition("/")[2] for entry in inside}
    return [join(folder, name) for name in sorted(found) if fnmatchcase(name, names)]


def find_files(folder: str, names: str = "*") -> list[str]:
    """Find all files beneath a folder, sorted, by their names within it; none where there is no such folder.

    ``folder`` is a name and ``names`` a pattern, as in `list_folder`; here ``*`` spans slashes.
    """
    filesystem, path = find_filesystem(folder)
    filesystem.invalidate_cache()
    found = (str(name).removeprefix(path).lstrip("/") for name in filesystem.find(path))
    return sorted(name for name in found if fnmatchcase(name, names))


def remove(location: str) -> None:
    """Remove a file or a whole folder; nothing happens when it is not there."""
    filesystem, path = find_filesystem(location)
    filesystem.invalidate_cache()
    if not filesystem.exists(path):
        return
    # fsspec takes what it is to remove for a pattern, except on local disks.
    literal = path if isinstance(filesystem, LocalFileSystem) else glob.escape(path)
    with suppress(FileNotFoundError):  # somebody else removed it in this moment
        filesystem.rm(literal, recursive=True)


def move(filesystem: Any, source: str, target: str) -> None:
    """Move a file within a file system of fsspec, whose own ``mv`` takes the name for a pattern in an object store."""
    if isinstance(filesystem, LocalFileSystem):
        filesystem.mv(source, target)
    else:
        filesystem.cp_file(source, target)
        filesystem.rm_file(source)


@contextmanager
def open_atomic(location: str, *, lasting: bool = True) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when the block ends without an error.

    Parameters
    ----------
    location : str
        File to write; an existing one is replaced in one step.
    lasting : bool
        Whether it must survive a crash of the machine, for which a local disk makes each file wait some milliseconds;
        not what the same run reads again and removes.

    Yields
    ------
    binary file

    Raises
    ------
    IsADirectoryError
        There is a folder of the name.
    """
    filesystem, path = find_filesystem(location)
    local = isinstance(filesystem, LocalFileSystem)
    target = _name_aside(path) if local else path
    if local:
        # To move a file onto a folder is to move it into it, under the name of one that is being written.
        if filesystem.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        # Object stores have no folders to make.
        filesystem.makedirs(filesystem._parent(path), exist_ok=True)
    # A browser shows a page of an object store only if that says that it is one.
    kind, _ = mimetypes.guess_type(path)
    kept = {"ContentType": kind} if kind and "s3" in filesystem.protocol else {}
    file = filesystem.open(target, "wb", **kept)
    try:
        yield file
        if local:
            file.flush()
            if lasting:
                os.fsync(file.fileno())  # or the name may survive a crash of the machine, and the content not
        file.close()  # a full disk may show only here
        if local:
            # A rename within one folder, which a local disk does in one step.
            move(filesystem, target, path)
    except BaseException:  # an interrupted process must leave no half file either
        _discard(filesystem, file, target, local)
        raise


@contextmanager
def name_full_disk(location: str) -> Iterator[None]:
    """Say of a full disk or quota which it is and what to do; other errors pass.

    Parameters
    ----------
    location : str
        Where the block writes.

    Raises
    ------
    StorageFullError
        There is no room left.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFullError(
            f"no room left on the disk of {location!r} ({error}): make room and run the job again, it goes on from here"
        ) from error


def is_store_trouble(error: BaseException) -> bool:
    """Tell whether a disk or store did not answer, which asking again may mend, rather than say what it does not have.

    An `OSError` that is no answer ("no such file", "forbidden") has an error number or is a time-out or a lost
    connection; those that astropy raises of bytes that are no FITS have none. Of what the stores' clients raise beside,
    all is trouble: they make an `OSError` of an answer.

    Examples
    --------
    >>> is_store_trouble(OSError(errno.EBUSY, "Service Unavailable"))
    True
    >>> is_store_trouble(FileNotFoundError(errno.ENOENT, "No such file or directory"))
    False
    >>> is_store_trouble(OSError("Empty or corrupt FITS file"))
    False
    """
    if not isinstance(error, OSError):
        return type(error).__module__.partition(".")[0] in _CLIENTS
    if error.errno in _ANSWERS:
        return False
    unnumbered = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    return not isinstance(error, unnumbered) and (
        error.errno is not None or isinstance(error, TimeoutError | ConnectionError)
    )


def write_aside(location: str, content: bytes) -> str:
    """Write what a job shows or logs beside its work; return why a disk or store did not take it, "" where it did.

    The work itself asks the store for more, and tells of its troubles.
    """
    try:
        with open_atomic(location) as file:
            file.write(content)
    # Whatever a store's client raises; a fault of the program is none of these.
    except Exception as error:
        if not (isinstance(error, OSError) or is_store_trouble(error)):
            raise
        return str(error) or type(error).__name__
    return ""


def describe_refusal(error: OSError) -> str:
    """Say in one line what a disk or a store refused, and what helps.

    Examples
    --------
    >>> describe_refusal(OSError(errno.EROFS, "Read-only file system", "/archive/out"))
    "Read-only file system: '/archive/out': give a place that may be read and written to, or the right to it"
    """
    told = f"{error.strerror}: {error.filename!r}" if error.strerror and error.filename else str(error)
    # Stores' clients number none of theirs.
    number = error.errno or {PermissionError: errno.EACCES, FileNotFoundError: errno.ENOENT}.get(type(error))
    fitting = (remedy for remedy, numbers in _REMEDIES.items() if number in numbers)
    return f"{told or type(error).__name__}: {next(fitting, 'run again; with --verbose it shows where it arose')}"


def _name_aside(path: str) -> str:
    """Name a file in the same folder that readers of whole folders (Arrow, Dask) pass over, should it stay."""
    folder, _, name = path.rpartition("/")
    # A name of its own each time: a killed run's last worker and the next run may write the same file at once.
    return f"{folder}/.{name}.{uuid.uuid4().hex}{PART_SUFFIX}"


def _discard(filesystem: Any, file: Any, target: str, local: bool) -> None:
    if local:
        with suppress(OSError):  # what is in the buffer may not fit the disk either
            file.close()
        with suppress(FileNotFoundError):
            filesystem.rm(target)
    elif hasattr(file, "discard"):  # an upload that is never completed leaves no object
        # Or fsspec closes what is collected as garbage, and so completes the upload.
        file.closed = True
        with suppress(Exception):  # the store may be what failed; its own rules clear away begun uploads
            file.discard()


def write_json(location: str, value: Any) -> None:
    """Write a value as indented JSON with sorted keys, atomically."""
    with open_atomic(location) as file:
        file.write(json.dumps(value, indent=2, sort_keys=True).encode() + b"\n")


def read_json(location: str) -> Any:
    """Read a JSON file.

    Raises
    ------
    PhotozError
        The file is not JSON.
    FileNotFoundError
        There is no such file.
    """
    filesystem, path = find_filesystem(location)
    content = filesystem.cat_file(path)
    try:
        # UnicodeDecodeError is a ValueError, so bytes that are no text count as no JSON.
        return json.loads(content)
    except ValueError as error:
        raise PhotozError(f"{location} is not JSON ({error}): remove it and run again") from error


def compute_checksum(location: str) -> str:
    """Compute the SHA-256 of a file's bytes, as hexadecimal, reading a few MiB at a time."""
    digest = hashlib.sha256()
    with open_file(location) as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
