"""A Ray cluster of several nodes, as KubeRay would build it from a RayJob: workers come and go, the head has no CPUs.

Each node is a `ray start` of its own. The entry point, the settings of the engine and the sizes of the nodes are read
from the rendered manifests; the catalogue lies on an S3 server. Kubernetes itself, and KubeRay, are not run here.
"""

import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from fault_table import Tally
from rendered import ROOT, find, render_overlay
from runs import ManyPartitions, change, make_survey, name_tiles, write_toml

import cluster.local
from cluster.local import Head, start_head
from cluster.status import read_status
from photoz.settings import DEFAULT_CONFIG_VARIABLE
from photoz.storage import list_folder, read_json

pytest.importorskip("moto.server", reason="the server of the object store: pip install 'photoz[test]'")

from object_store import CREDENTIALS, make_bucket, open_store

pytestmark = pytest.mark.faults

SECRET = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
OVERLAY = "laptop"
PARTITIONS = 12
WORKER_PORTS = (
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "metrics-export-port",
    "runtime-env-agent-port",
)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManyPartitions]:
    """A survey on S3, with the engine's settings of the overlay."""
    text = find(render_overlay(OVERLAY), "ConfigMap", "photoz-run")["data"]["run.toml"]
    with open_store() as endpoint, make_bucket(endpoint) as bucket:
        names = ("tiles", "sources", "training", "models", "catalogue", "report")
        yield make_survey(
            tmp_path_factory.mktemp("nodes"),
            name_tiles(PARTITIONS),
            locations={name: f"{bucket}/{name}" for name in names},
            storage={"s3": {"endpoint_url": endpoint}},
            engine=tomllib.loads(text)["engine"],
        )


@contextmanager
def run_head(settings: Path, folder: Path) -> Iterator[Head]:
    """Start the head as its pod does: in the folder of the jobs, with the settings in the environment, without CPUs."""
    (options,) = (
        job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]
        for job in render_overlay(OVERLAY)
        if job["metadata"]["name"] == "photoz-infer"
    )
    assert options["num-cpus"] == "0"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv(DEFAULT_CONFIG_VARIABLE, str(settings))
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(cluster.local, "_SECONDS_TO_START", 300.0)
        with start_head(options=[f"--num-cpus={options['num-cpus']}"]) as head:
            yield head


@contextmanager
def run_worker(head: Head) -> Iterator[psutil.Process]:
    """Join the cluster as a node with the CPUs of a reader pod."""
    job = find(render_overlay(OVERLAY), "RayJob", "photoz-infer")
    (container,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    ports = zip(WORKER_PORTS, cluster.local._find_free_ports(len(WORKER_PORTS)), strict=True)
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    command += ["--address", head.address, "--node-ip-address", "127.0.0.1"]
    command += [f"--num-cpus={container['resources']['limits']['cpu']}", *(f"--{name}={port}" for name, port in ports)]
    environment = {name: value for name, value in head.environment.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        kill_node(process.pid)
        process.wait()


def kill_node(process: int) -> None:
    """Kill a node at once: `ray start`, its raylet, agents and workers."""
    try:
        whole = psutil.Process(process)
        for each in [whole, *whole.children(recursive=True)]:
            try:
                each.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
    except psutil.NoSuchProcess:
        return


def wait_for(what: Callable[[], object], *, seconds: float = 600.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)


def read_estimators(records: str) -> set[int]:
    """Read which processes estimated the partitions done so far."""
    return {int(read_json(file)["estimator"].rpartition(":")[2]) for file in list_folder(records)}


def ask(url: str) -> tuple[int, str]:
    """Ask without a token."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def test_the_rayjobs_entry_point_from_no_worker_on(survey: ManyPartitions, tally: Tally, tmp_path: Path) -> None:
    write_toml(survey.config, tmp_path / "run.toml")
    entry_point = find(render_overlay(OVERLAY), "RayJob", "photoz-infer")["spec"]["entrypoint"]
    records = f"{survey.config.locations.catalogue}/run/records"
    with run_head(tmp_path / "run.toml", tmp_path) as head, ExitStack() as nodes:
        assert ask(f"{head.api_address}/api/jobs/")[0] == 401
        command = ["ray", "job", "submit", "--address", head.api_address, "--", entry_point]
        with (tmp_path / "job.log").open("wb") as log:
            job = subprocess.Popen(command, env=head.environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: b"partitions to do" in (tmp_path / "job.log").read_bytes() or job.poll() is not None)
            assert job.poll() is None, (tmp_path / "job.log").read_text()  # no worker yet, and it waits
            first = nodes.enter_context(run_worker(head))
            wait_for(lambda: len(list_folder(records)) >= 3 or job.poll() is not None)
            before = read_estimators(records)
            assert before <= {each.pid for each in first.children(recursive=True)}
            nodes.enter_context(run_worker(head))
            kill_node(first.pid)
            done = len(list_folder(records))
            status = job.wait(timeout=1200)
        finally:
            job.kill()
    log = (tmp_path / "job.log").read_text()
    assert status == 0, log
    assert done < PARTITIONS, "the node was killed too late"
    assert read_estimators(records) - before, "the node that joined did nothing"
    assert "tiny cluster.telemetry: " in log  # the lines name the run
    assert SECRET not in log
    assert read_status(survey.config.locations).state == "finished"
    config = change(survey.config, engine__name="serial")
    tally.check("ray: node of a multi-node cluster killed, another joined", config, survey.object_ids)
