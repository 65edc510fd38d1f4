from .api import Model, Result, estimate, fit, load

__all__ = ["Model", "Result", "estimate", "fit", "load"]
__version__: str
