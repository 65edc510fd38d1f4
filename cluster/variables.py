"""Which environment variable a library stumbled over: libraries read them in the middle of an import, and end in its
traceback.
"""

import os
import re
from collections.abc import Iterator
from types import FrameType

_OWN = ("photoz", "cluster")


def name_variable(error: BaseException) -> str:
    """Tell of the environment variable that a library has read and could not use.

    It is one whose name stands in the code, or among the values, of a function of the library that the error came
    through, and whose value stands in the error's words.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str
        In one line; "" where there is none.
    """
    words = " ".join(str(error).split())
    for frame in _list_frames(error):
        # Names that a function is given, and those that it has in its code.
        texts = {text for text in (*frame.f_code.co_consts, *frame.f_locals.values()) if isinstance(text, str)}
        for name in sorted(texts & os.environ.keys()):
            value = os.environ[name]
            if value and re.search(rf"(?<![\w.]){re.escape(value)}(?![\w.])", words):
                library = str(frame.f_globals.get("__name__", "")).partition(".")[0] or "a library"
                return (
                    f"the environment variable {name} is {value!r}, of which {library} can make nothing "
                    f"({type(error).__name__}: {words}): correct it, or take it away"
                )
    return ""


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


def choose_threads() -> dict[str, str]:
    """Choose what numexpr, with which pandas computes where it is installed, has to read beside OpenMP's variable.

    OpenMP takes a list, a number a level of parallel regions within each other (``OMP_NUM_THREADS=4,2``); numexpr takes
    one number, and ends pandas' import with a list.
    """
    first, comma, _ = os.environ.get("OMP_NUM_THREADS", "").partition(",")
    if not comma or "NUMEXPR_NUM_THREADS" in os.environ or not first.strip().isdecimal():
        return {}
    return {"NUMEXPR_NUM_THREADS": first.strip()}
