"""What the simulated survey needs beside photoz; imported first, so that a lack of it is told with the remedy."""

try:
    import galsim as _galsim  # noqa: F401
    import kcorrect as _kcorrect  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"the simulated survey needs galsim and kcorrect: pip install 'photoz[demo]' ({error})"
    ) from error
