"""What the simulated survey needs beside photoz; imported first, so that a lack of it is told with the remedy."""

from photoz.optional import needs as _needs

with _needs("the simulated survey", "galsim and kcorrect", extra="demo"):
    import galsim as _galsim  # noqa: F401
    import kcorrect as _kcorrect  # noqa: F401
