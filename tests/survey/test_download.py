"""Download: the release's naming, resuming, and files that cannot be had; against a server of our own."""

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tiny_survey import make_config

from photoz.errors import ConfigError
from photoz.settings.config import Config
from photoz.survey.download import fetch_file, plan_download, read_places, report_download

CONTENT = bytes(range(256)) * 100
FILES = {"/KiDS_DR4.0_10.0_0.5_r_sci.fits": CONTENT, "/KiDS_DR4.0_10.0_0.5_ugriZYJHKs_cat.fits": b"cat" * 960}


class Handler(BaseHTTPRequestHandler):
    """Serves FILES, with or without ranges; ``/short`` promises more than it sends."""

    ranges = True
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def _answer(self, *, send: bool) -> None:
        body = FILES.get(self.path)
        if body is None:
            self.send_error(404)
            return
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.ranges else None
        part = body
        if wanted:
            part = body[int(wanted[1]) : int(wanted[2]) + 1 if wanted[2] else None]
            self.asked.append(self.headers["Range"])
        self.send_response(206 if wanted else 200)
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if wanted:
            first = int(wanted[1])
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if send:
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=[True, False], ids=["ranges", "no-ranges"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    handler = type("H", (Handler,), {"ranges": request.param, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def configure(folder: Path, server: str = "http://127.0.0.1:1", **download: object) -> Config:
    tiles = download.pop("tiles", ["KIDS_10.0_0.5"])
    return make_config(folder, download={"base_url": server, "tiles": tiles, "other_urls": [], **download})


def plan(config: Config) -> list[tuple[str, ...]]:
    return plan_download(config.download, config.survey)


def test_plan_follows_the_releases_naming(tmp_path: Path) -> None:
    planned = plan(configure(tmp_path, "http://host/dr4/", kinds=["sci", "msk", "cat"], other_urls=["http://x/b.fits"]))
    names = [each[0].rsplit("/", 1)[1] for each in planned]
    assert planned[0] == ("http://x/b.fits",)
    assert planned[1] == ("http://host/dr4/KiDS_DR4.0_10.0_0.5_u_sci.fits",)
    assert names[5:9] == [f"KiDS_DR4.0_10.0_0.5_{band}_msk.fits" for band in "ugri"]
    assert [url.rsplit("/", 1)[1] for url in planned[-1]] == [
        f"KiDS_DR4.{n}_10.0_0.5_ugriZYJHKs_cat.fits" for n in (1, 0)
    ], "the newer catalogue is tried first"


def test_tile_list_may_be_a_wget_script(tmp_path: Path) -> None:
    (tmp_path / "list.sh").write_text(
        "#!/bin/sh\nwget http://host:8000/KiDS_DR4.0_0.0_-28.2_ugriZYJHKs_cat.fits\nKIDS_180.0_-0.5\n\n"
    )
    config = configure(tmp_path, tiles=[], tile_list=str(tmp_path / "list.sh"))
    assert read_places(config.download) == [("0.0", "-28.2"), ("180.0", "-0.5")]


WGET = """#!/bin/sh
# http://host/KiDS_DR4.0_9.0_9.0_r_sci.fits is not wanted
wget http://host:8000/KiDS_DR4.0_0.0_-28.2_ugriZYJHKs_cat.fits
wget -c "http://host:8000/deep/er/KiDS_DR4.0_0.0_-28.2_r_sci.fits" && echo done
wget 'https://other/KiDS_DR4.0_180.0_-0.5_i_wei.fits'
wget https://other/KiDS_DR4.0_180.0_-0.5_i_msk.fits
wget https://other/KiDS_DR4.0_180.0_-0.5_i_msk.fits
wget https://other/bright.fits
"""


def test_a_wget_scripts_addresses_are_fetched_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "wget.sh").write_text(WGET)
    whole = configure(tmp_path, tiles=[], tile_list=str(tmp_path / "wget.sh"))
    assert plan(whole) == [
        ("http://host:8000/KiDS_DR4.0_0.0_-28.2_ugriZYJHKs_cat.fits",),
        ("http://host:8000/deep/er/KiDS_DR4.0_0.0_-28.2_r_sci.fits",),
        ("https://other/KiDS_DR4.0_180.0_-0.5_i_msk.fits",),
        ("https://other/bright.fits",),
    ], "weights are not among download.kinds, and nothing is made of download.base_url"
    one = configure(tmp_path, tiles=["KIDS_180.0_-0.5"], tile_list=str(tmp_path / "wget.sh"), kinds=["msk", "wei"])
    assert [url for (url,) in plan(one)] == [
        "https://other/KiDS_DR4.0_180.0_-0.5_i_wei.fits",
        "https://other/KiDS_DR4.0_180.0_-0.5_i_msk.fits",
        "https://other/bright.fits",
    ]


def test_no_tile_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"download\.tiles"):
        plan(configure(tmp_path, tiles=[]))
    with pytest.raises(ConfigError, match="cannot be read"):
        plan(configure(tmp_path, tile_list=str(tmp_path / "none")))


def test_fetches_then_skips(tmp_path: Path, server: str) -> None:
    config = configure(tmp_path, server)
    urls = (f"{server}/KiDS_DR4.0_10.0_0.5_r_sci.fits",)
    first, second = fetch_file(config.locations.survey, urls), fetch_file(config.locations.survey, urls)
    assert (first.status, first.bytes_fetched, first.problem) == ("done", len(CONTENT), "")
    assert second.status == "skipped"
    assert (tmp_path / "survey" / "KiDS_DR4.0_10.0_0.5_r_sci.fits").read_bytes() == CONTENT
    assert not list((tmp_path / "survey").glob("*.part"))


def test_resumes_what_was_begun(tmp_path: Path, server: str, request: pytest.FixtureRequest) -> None:
    (tmp_path / "survey").mkdir()
    (tmp_path / "survey" / "KiDS_DR4.0_10.0_0.5_r_sci.fits.part").write_bytes(CONTENT[:20000])
    row = fetch_file(configure(tmp_path, server).locations.survey, (f"{server}/KiDS_DR4.0_10.0_0.5_r_sci.fits",))
    resumable = "no-ranges" not in request.node.name
    assert (row.status, row.bytes_fetched) == ("done", len(CONTENT) - (20000 if resumable else 0))
    assert (tmp_path / "survey" / "KiDS_DR4.0_10.0_0.5_r_sci.fits").read_bytes() == CONTENT


def test_file_of_another_size_is_fetched_again(tmp_path: Path, server: str) -> None:
    (tmp_path / "survey").mkdir()
    (tmp_path / "survey" / "KiDS_DR4.0_10.0_0.5_r_sci.fits").write_bytes(b"half")
    row = fetch_file(configure(tmp_path, server).locations.survey, (f"{server}/KiDS_DR4.0_10.0_0.5_r_sci.fits",))
    assert row.status == "done"


def test_falls_back_to_the_older_catalogue(tmp_path: Path, server: str) -> None:
    config = configure(tmp_path, server, kinds=["cat"])
    (urls,) = plan(config)
    assert fetch_file(config.locations.survey, urls).file == "KiDS_DR4.0_10.0_0.5_ugriZYJHKs_cat.fits"


def test_absent_file_and_absent_server_are_reported(
    tmp_path: Path, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = configure(tmp_path, server)
    absent = fetch_file(config.locations.survey, (f"{server}/none.fits",))
    dead = fetch_file(config.locations.survey, ("http://127.0.0.1:1/dead.fits",))
    assert (absent.status, dead.status) == ("failed", "failed")
    assert "none.fits does not exist" in absent.problem
    assert report_download([absent, dead]) == 1
    assert "none.fits" in caplog.text
    assert "dead.fits" in caplog.text
