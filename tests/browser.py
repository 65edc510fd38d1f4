"""A page in a real browser: what overflows, which pictures are missing, which tables say not what they hold."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless",
    "--no-sandbox",  # of a root user, as in a container
    "--disable-gpu",
    "--hide-scrollbars",  # which would take their width off the page's
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",
)
# A frame is as narrow as it is made, which a window of a browser is not below some 500 pixels.
_FRAME = """<!DOCTYPE html><meta charset="utf-8"><body><pre id="found"></pre><script>
addEventListener("message", e => { document.getElementById("found").textContent = e.data; });</script>
<iframe src="probed.html" style="width: %dpx; height: 900px; border: 0"></iframe></body>"""


def find_browser() -> str:
    """Return the browser's command, or skip the test."""
    found = next((place for name in _NAMES if (place := shutil.which(name))), None)
    if found is None:
        pytest.skip("no browser: install Debian's package chromium")
    return found


def probe_page(page: Path, folder: Path, *, width: int, dark: bool = False) -> dict[str, object]:
    """Load a page that stands alone in a frame of a width [pixel], and return what is wrong with it.

    Returns
    -------
    dict
        ``overflow``, ``missing``, ``unlabelled``, ``faint``: lists of elements; ``width`` [pixel] of the page and its
        ``ground`` as they were.

    Notes
    -----
    Faint is text whose contrast with its ground is below 4.5, the least that WCAG 2.1 has for body text.
    """
    browser = find_browser()
    (folder / "probed.html").write_text(page.read_text(encoding="utf-8") + _read_probe(), encoding="utf-8")
    frame = folder / f"frame-{width}.html"
    frame.write_text(_FRAME % width, encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [browser, *_OPTIONS, scheme, f"--user-data-dir={folder / 'profile'}", f"--window-size={width + 40},1000"]
    done = subprocess.run(
        [*command, "--dump-dom", frame.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, flags=re.DOTALL)
    assert found is not None, f"the page did not load: {done.stderr[-2000:]}"
    answer: dict[str, object] = json.loads(unescape(found[1]))
    return answer


def _read_probe() -> str:
    # Run within the page, which tells what it finds to the frame around it.
    return f"<script>\n{Path(__file__).with_name('browser.js').read_text(encoding='utf-8')}</script>"
