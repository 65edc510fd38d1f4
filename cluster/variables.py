"""Which environment variable a library stumbled over: libraries read them in the middle of an import, and end in its
traceback.
"""

import os
import re
from collections.abc import Iterator
from types import FrameType

_OWN = ("photoz", "cluster")
_DASK = ("dask", "distributed")
_OF_PARSING = (ValueError, TypeError, LookupError, ImportError, AttributeError)
_CHOSEN = ("TMP", "TEMP", "CACHE", "CONFIG")


def name_variable(error: BaseException) -> str:
    """Tell of the environment variable that a library has read and could not use.

    It is one whose name stands in the code, or among the values, of a function of the library that the error came
    through, and whose value stands in the error's words. Dask makes settings of all that begin with ``DASK_``.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str
        In one line; "" where there is none.
    """
    for each in _list_chain(error):
        # A number that a variable also has may stand in the words of any other trouble, of a worker that was lost, say.
        if not isinstance(each, _OF_PARSING):
            continue
        words = " ".join(str(each).split())
        for frame in _list_frames(each):
            library = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            for name in sorted(_list_read(frame, library) & os.environ.keys()):
                if _is_told(os.environ[name], words):
                    return (
                        f"the environment variable {name} is {os.environ[name]!r}, of which {library or 'a library'} "
                        f"can make nothing ({type(each).__name__}: {words}): correct it, or take it away"
                    )
    return ""


def _list_chain(error: BaseException) -> Iterator[BaseException]:
    """List an error and those that it was raised from, which may be another process's."""
    step: BaseException | None = error
    while step is not None:
        yield step
        step = step.__cause__ or step.__context__


def _list_frames(error: BaseException) -> Iterator[FrameType]:
    """List where an error came through, the innermost first, as far as a library's own."""
    frames, step = [], error.__traceback__
    while step is not None:
        frames.append(step.tb_frame)
        step = step.tb_next
    for frame in reversed(frames):
        # Beyond it is what asked for the library, and reads no variables for it.
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in _OWN:
            return
        yield frame


def _list_read(frame: FrameType, library: str) -> set[str]:
    """List the names that a function may have read: those in its code, and those that it was given."""
    texts = {text for text in (*frame.f_code.co_consts, *frame.f_locals.values()) if isinstance(text, str)}
    return texts | ({name for name in os.environ if name.startswith("DASK_")} if library in _DASK else set())


def _is_told(value: str, words: str) -> bool:
    # As a word: a value of 1 stands in many a message. Names of levels, and the like, are told in capitals.
    return bool(value) and re.search(rf"(?<![\w.]){re.escape(value)}(?![\w.])", words, re.IGNORECASE) is not None


def name_place(path: object) -> str:
    """Tell which environment variable names a place that could not be had, as ``TMPDIR`` does; "" where none does.

    >>> os.environ["RAY_TMPDIR"] = "/nowhere/tmp"
    >>> name_place("/nowhere/tmp/session"), name_place("/archive"), name_place(None)
    (' (the environment variable RAY_TMPDIR names /nowhere/tmp)', '', '')
    >>> del os.environ["RAY_TMPDIR"]
    """
    text = f"{path}/" if isinstance(path, str) else ""
    named = {
        name: value.rstrip("/")
        for name, value in os.environ.items()
        # Of places that programs choose alone: beneath others lies what the user has named himself.
        if value.startswith("/") and any(part in name for part in _CHOSEN) and text.startswith(value.rstrip("/") + "/")
    }
    # The one that says most of it.
    name = max(named, key=lambda each: len(named[each]), default="")
    return f" (the environment variable {name} names {named[name]})" if name and named[name] else ""


def choose_threads() -> dict[str, str]:
    """Choose what numexpr, with which pandas computes where it is installed, has to read beside OpenMP's variable.

    OpenMP takes a list, a number a level of parallel regions within each other (``OMP_NUM_THREADS=4,2``); numexpr takes
    one number, and ends pandas' import with a list.
    """
    first, comma, _ = os.environ.get("OMP_NUM_THREADS", "").partition(",")
    if not comma or "NUMEXPR_NUM_THREADS" in os.environ or not first.strip().isdecimal():
        return {}
    return {"NUMEXPR_NUM_THREADS": first.strip()}
