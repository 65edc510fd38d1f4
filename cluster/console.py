"""What a job shows where it was started: our own lines, progress on one that renews itself; all else goes into a file.

Ray prints what its workers write, C++ and child processes write to standard error past Python, and libraries log and
warn: hundreds of lines that tell a user nothing. `keep_quiet` sends them into a log beside the job's output, with a
copy of our own lines; of what workers of Ray write, ours are shown.
"""

import io
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO, cast

from photoz.settings.secrets import hide_secrets
from photoz.telemetry import RENEWED

OWN = ("photoz", "cluster")
"""Whose lines are shown."""
WORKER_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""Of our lines in a worker of Ray, by which they are known again where the job was started."""

_OF_WORKER = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) ((?:photoz|cluster)[\w.]*): (.*)")
_ERASE = "\r\x1b[2K"


class _DiscreetFormatter(logging.Formatter):
    """Writes no password that stands in a URL."""

    def format(self, record: logging.LogRecord) -> str:
        return hide_secrets(super().format(record))


class Console(logging.StreamHandler[TextIO]):
    """Shows lines of the log; in a terminal those of progress renew one line.

    Parameters
    ----------
    run : str
        Name that stands in every line, since the logs of several runs may end in one place; "" for none.
    verbose : bool
        Show what others log, too.
    """

    def __init__(self, run: str = "", *, verbose: bool = False) -> None:
        super().__init__()
        # The name becomes part of a format in which % means something.
        named = f"{run.replace('%', '%%')} " if run else ""
        self.setFormatter(_DiscreetFormatter(f"%(asctime)s {named}%(name)s: %(message)s", datefmt="%H:%M:%S"))
        self._verbose = verbose
        # Set while a line that is to be renewed stands in the terminal.
        self._unfinished = threading.Event()

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what others say, and renewals where nothing can be renewed."""
        if record.levelno == RENEWED and not self._renews():
            return False
        return self._verbose or record.name.partition(".")[0] in OWN

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, over the one that is being renewed."""
        if self._unfinished.is_set():
            self.stream.write(_ERASE)
            self._unfinished.clear()
        progress = getattr(record, "progress", "")
        if progress != "going" or not self._renews():
            super().emit(record)
            return
        # One that breaks could not be renewed.
        self.stream.write(self.format(record)[: shutil.get_terminal_size().columns - 1])
        self.stream.flush()
        self._unfinished.set()

    def _renews(self) -> bool:
        # Of a closed one nothing else may be asked.
        return not self.stream.closed and self.stream.isatty()

    def finish(self) -> None:
        """Let the line that is being renewed stand, before something else is written."""
        if self._unfinished.is_set():
            self.stream.write("\n")
            self.stream.flush()
            self._unfinished.clear()


class Sieve(io.TextIOBase):
    """Stands in for a standard stream: passes on what this thread writes, and sorts what Ray prints of its workers.

    Parameters
    ----------
    write : callable
        For text of the main thread.
    aside : callable
        For lines of others.
    stream : text stream
        Whose descriptor and terminal it has.
    """

    def __init__(self, write: Callable[[str], object], aside: Callable[[str], object], stream: TextIO) -> None:
        self._write, self._aside, self._stream = write, aside, stream
        # Ray prints in threads of its own, a line in several pieces.
        self._held = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return self._stream.encoding

    def write(self, text: str, /) -> int:
        """Write text, of Ray's threads once its line is complete."""
        if threading.current_thread() is threading.main_thread():
            self._write(text)
            return len(text)
        *lines, self._held.text = f"{getattr(self._held, 'text', '')}{text}".split("\n")
        for line in lines:
            self._sort(line)
        return len(text)

    def _sort(self, line: str) -> None:
        found = _OF_WORKER.search(line)
        if found:
            level, name, message = found.groups()
            logging.getLogger(name).log(logging.getLevelNamesMapping()[level], "%s", message)
        else:
            self._aside(f"{line}\n")

    def flush(self) -> None:
        """Flush the stream, unless it is closed: Ray's threads may outlive the block that this stood in for one."""
        if not self._stream.closed:
            self._stream.flush()

    def isatty(self) -> bool:
        """Tell whether the stream ends in a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        return self._stream.fileno()


@contextmanager
def keep_quiet(console: Console, location: str) -> Iterator[None]:
    """Show our own lines alone within the block; write them and all else to a log.

    Parameters
    ----------
    console : Console
        Handler of the root logger.
    location : str
        Of the log. A path is added to as it goes on; a URL is written anew when the block ends.

    Notes
    -----
    What C++ and child processes write to standard error goes into the log by the process's descriptor 2. Results that
    are printed on standard output are shown.
    """
    with ExitStack() as stack:
        file = stack.enter_context(_open_log(location))
        copy = logging.StreamHandler(file)
        copy.setLevel(logging.INFO)
        copy.setFormatter(_DiscreetFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(copy)
        stack.callback(logging.getLogger().removeHandler, copy)
        logging.captureWarnings(True)
        stack.callback(logging.captureWarnings, False)
        before = console.setStream(stack.enter_context(_set_stderr_aside(file)))
        if before is not None:
            stack.callback(console.setStream, before)
        stack.callback(console.finish)
        shown = sys.stdout

        def show(text: str) -> None:
            console.finish()
            shown.write(text)

        def keep(text: str) -> None:
            file.write(hide_secrets(text))

        stack.enter_context(redirect_stdout(cast(TextIO, Sieve(show, keep, shown))))
        stack.enter_context(redirect_stderr(cast(TextIO, Sieve(keep, keep, file))))
        yield


@contextmanager
def _set_stderr_aside(file: TextIO) -> Iterator[TextIO]:
    """Let the process's standard error be the file, and give what it was."""
    try:
        whole = sys.stderr.fileno() == 2
    except (OSError, ValueError):
        whole = False
    # A test's, or another program's, that has put something in its place.
    if not whole:
        yield sys.stderr
        return
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace") as shown:
        os.dup2(file.fileno(), 2)
        try:
            yield shown
        finally:
            os.dup2(shown.fileno(), 2)


@contextmanager
def _open_log(location: str) -> Iterator[TextIO]:
    """Open the log; of a URL, or where it cannot be written, a file that is gone at the end."""
    local = "://" not in location
    with _open_path(Path(location)) if local else _open_unnamed() as file:
        try:
            yield file
        finally:
            if not local:
                _send(file, location)


def _open_path(path: Path) -> TextIO:
    # Where the log cannot be, the job's output cannot either, and the job says so.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a", buffering=1, errors="backslashreplace")
    return _open_unnamed()


def _open_unnamed() -> TextIO:
    # Of a plain file's type, which what is temporary has not.
    return cast(TextIO, tempfile.TemporaryFile("w+", buffering=1, errors="backslashreplace"))


def _send(file: TextIO, location: str) -> None:
    # fsspec comes with it, which help and dry runs do without.
    from photoz.storage import write_aside

    file.seek(0)
    write_aside(location, file.read().encode())
