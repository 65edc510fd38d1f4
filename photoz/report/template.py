"""What the HTML pages share: one environment of templates, one style, figures as cells and as data URIs."""

import base64
import re
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from photoz.metrics import Measurement
from photoz.report.numbers import format_measurement

_SUBSCRIPT = re.compile("([zσ])_(phot|spec|IQR)")


def render_template(package: str, *, template: str = "page.html", **content: object) -> str:
    """Render a template of a package, which may use the filters ``maths`` and ``measurement``.

    ``style``, the pages' common CSS, is added to the content.
    """
    environment = Environment(
        loader=PackageLoader(package, "."),
        # Labels and settings are the user's text and may hold < and &.
        autoescape=True,
        # A name that the page misspells is an error; Jinja's default prints nothing in its place.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["maths"] = format_maths
    environment.filters["measurement"] = format_cell
    # Markup, or the style sheet's > and quotes would be escaped like the user's text.
    style = Markup(files("photoz.report").joinpath("style.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, **content)


def format_maths(text: str) -> Markup:
    """Write the subscripts of our symbols as subscripts.

    >>> str(format_maths("z_phot > 3σ_IQR"))
    'z<sub>phot</sub> &gt; 3σ<sub>IQR</sub>'
    """
    # Escaped before the tags are put in: the other way around they would be escaped as well.
    return Markup(_SUBSCRIPT.sub(r"\1<sub>\2</sub>", str(escape(text))))


def format_cell(name: str, measurement: Measurement) -> str:
    """Format a figure that breaks, where a narrow screen must break it, before its error.

    >>> format_cell("outlier_fraction_005", Measurement(0.0331, 0.0013)).replace("\u00a0", "~")
    '3.31 ±~0.13~%'
    """
    # A cell may break between value and error, and nowhere else.
    return format_measurement(name, measurement).replace("± ", "±\u00a0").replace(" %", "\u00a0%")


def encode_png(image: bytes) -> str:
    """Return a PNG as a data URI, so that a page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(image).decode()
