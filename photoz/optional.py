"""Packages that a part of photoz needs, and what to say where one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from photoz.errors import MissingPackageError


@contextmanager
def needs(what: str, packages: str, *, extra: str = "") -> Iterator[None]:
    """Import, within the block, packages that may be missing; of one that is, tell how it is installed.

    Parameters
    ----------
    what : str
        What needs them ("an export to HDF5").
    packages : str
        Their names on PyPI, as a sentence has them ("galsim and kcorrect").
    extra : str, optional
        The extra of photoz that brings them; "" for packages that photoz always brings.

    Raises
    ------
    MissingPackageError
        Where the block raises an `ImportError`.

    Examples
    --------
    >>> with needs("an example", "no-such-package", extra="qp"):
    ...     import no_such_package
    Traceback (most recent call last):
    photoz.errors.MissingPackageError: an example needs no-such-package: pip install 'photoz[qp]' (No module named 'no_such_package')
    """  # noqa: E501
    try:
        yield
    except ImportError as error:
        remedy = f"photoz[{extra}]" if extra else "photoz"
        # What Python says, too: a package that is there but broken raises the same.
        raise MissingPackageError(f"{what} needs {packages}: pip install '{remedy}' ({error})") from error
