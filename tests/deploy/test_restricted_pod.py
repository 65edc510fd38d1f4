"""The inference job with what a pod of the manifests leaves it: user 1000, a read-only root, /tmp, no capabilities.

A mount namespace of its own stands in for the container. Among the faults, since it takes rights away on purpose; it
needs to be root for that.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rendered import DEPLOY, ROOT
from runs import change, make_survey, name_tiles, read_all, write_toml

pytestmark = pytest.mark.faults

# $1: folder that takes the object store's place, the only one beside /tmp that can be written. $2: where Python is
# installed; under root's own folder, which nobody else may enter, it is shown again in an open one.
AS_A_POD = """
set -e
mount --make-rprivate /
mount --bind "$1" /mnt
case "$2" in /root/*)
    mount --bind "$2" /media
    mount -t tmpfs -o mode=755 tmpfs /root
    mkdir -p "$2"
    mount --bind /media "$2"
esac
mount -t tmpfs tmpfs /tmp
mount -o remount,bind,ro /
if touch /var/tmp/photoz-test 2> /dev/null; then echo "the root can be written" >&2; exit 99; fi
shift 2
exec setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def read_environment() -> dict[str, str]:
    """Read what the image sets, but for the place of its virtual environment."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    _, _, stage = text.partition(" AS runtime\n")
    (line,) = re.findall(r"^ENV (.*)$", stage.split("\nFROM ")[0], re.M)
    return {name: value for name, _, value in (word.partition("=") for word in shlex.split(line)) if name != "PATH"}


@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_inference_needs_to_write_nothing_but_tmp(tmp_path: Path, engine: str) -> None:
    if os.geteuid() or not all(map(shutil.which, ("unshare", "setpriv", "mount"))):
        pytest.skip("a read-only root can be made by root alone, with unshare and setpriv")
    made = make_survey(tmp_path / "made", name_tiles(2))
    locations = {name: f"/mnt/{name}" for name in made.config.locations.__struct_fields__}
    changes = {f"locations__{name}": location for name, location in locations.items()}
    config = change(made.config, engine__name=engine, **changes)
    write_toml(config, tmp_path / "made" / "run.toml")
    subprocess.run(["chown", "-R", "1000:1000", str(tmp_path / "made")], check=True)
    environment = read_environment() | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PHOTOZ_CONFIG": "/mnt/run.toml",
    }
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        AS_A_POD,
        "sh",
        str(tmp_path / "made"),
        sys.base_prefix,
        sys.executable,
    ]
    done = subprocess.run(
        [*command, "jobs/infer_dr4.py"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    catalogue = change(config, locations__catalogue=str(tmp_path / "made" / "catalogue")).locations.catalogue
    assert set(read_all(catalogue)["object_id"].to_pylist()) == made.object_ids
    assert not re.search("Read-only file system|Permission denied", done.stderr), done.stderr[-3000:]
