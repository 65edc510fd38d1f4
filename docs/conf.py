"""The documentation as a site: ``make docs``."""

import importlib.metadata
import os
import re

from sphinx.application import Sphinx

project = "photoz"
author = "photoz developers"
version = release = importlib.metadata.version("photoz")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_nb",
]
exclude_patterns = ["_build", "control-plane", "**.ipynb_checkpoints"]
html_theme = "furo"
html_title = "photoz"
html_show_sourcelink = False
html_show_copyright = False

# Links from one page to another's heading.
myst_heading_anchors = 3
# Notebooks are stored without outputs; tests/docs run them, and with PHOTOZ_DOCS_NOTEBOOKS=force so does the site.
nb_execution_mode = os.environ.get("PHOTOZ_DOCS_NOTEBOOKS", "off")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
# What libraries write beside their results, such as progress, says nothing to a reader.
nb_output_stderr = "remove"

# What docstrings have in single backticks are names of ours.
default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"
# Of a package whose names are imported when they are used, `__all__` says what there is.
autosummary_ignore_module_all = False
numpydoc_show_class_members = False
# Attributes are told where they are declared.
numpydoc_attributes_as_param_list = False


def _name_files(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn links to files outside of the pages into their names: they are links where the source is read."""
    above = "\\.\\./" * (page.count("/") + 1)
    source[0] = re.sub(rf"\[`?([^\]`]+)`?\]\({above}([^)#]+)[^)]*\)", _name_file, source[0])


def _name_file(link: re.Match[str]) -> str:
    text, path = link.groups()
    return f"`{path}`" if path.endswith(text) else f"{text} (`{path}`)"


def setup(app: Sphinx) -> None:
    """Register what is changed in pages before they are read."""
    app.connect("source-read", _name_files)
