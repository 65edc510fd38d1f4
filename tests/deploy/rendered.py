"""The manifests as `kubectl apply -k` would send them, and the pods in them."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("laptop", "cpu", "gpu")
JOBS = ("simulate", "ingest", "train", "infer", "audit", "evaluate")

Manifest = dict[str, Any]


@cache
def render(folder: str) -> tuple[Manifest, ...]:
    """Render a folder of deploy/; skips the test where neither kubectl nor kustomize is installed."""
    if shutil.which("kustomize"):
        command = ["kustomize", "build"]
    elif shutil.which("kubectl"):
        command = ["kubectl", "kustomize"]
    else:
        pytest.skip("neither kubectl nor kustomize is installed")
    done = subprocess.run([*command, str(DEPLOY / folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))


def render_overlay(name: str) -> tuple[Manifest, ...]:
    """Render one of `OVERLAYS`."""
    return render(f"overlays/{name}")


def find(manifests: tuple[Manifest, ...], kind: str, name: str) -> Manifest:
    """Find the one object of a kind and name."""
    (found,) = (each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def read_values(overlay: str) -> dict[str, Any]:
    """Read the file that an operator edits."""
    values: dict[str, Any] = yaml.safe_load((DEPLOY / "overlays" / overlay / "values.yaml").read_text())
    return values


@dataclass(frozen=True)
class Pod:
    """A pod that an operator of the cluster would make from a manifest."""

    name: str
    spec: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def list_pods(manifests: tuple[Manifest, ...]) -> Iterator[Pod]:
    """List the pods of Ray clusters and jobs and of Dask jobs; a head's autoscaler is one of its containers."""
    for each in manifests:
        name = f"{each['kind']} {each['metadata']['name']}"
        match each["kind"]:
            case "RayCluster":
                yield from _list_ray_pods(name, each["spec"])
            case "RayJob":
                yield from _list_ray_pods(name, each["spec"]["rayClusterSpec"])
                yield _make_pod(f"{name}: submitter", each["spec"]["submitterPodTemplate"])
            case "DaskJob":
                cluster = each["spec"]["cluster"]["spec"]
                yield _make_pod(f"{name}: job", each["spec"]["job"])
                yield _make_pod(f"{name}: worker", cluster["worker"])
                yield _make_pod(f"{name}: scheduler", cluster["scheduler"])


def _list_ray_pods(name: str, cluster: dict[str, Any]) -> Iterator[Pod]:
    head = _make_pod(f"{name}: head", cluster["headGroupSpec"]["template"])
    options = cluster["autoscalerOptions"]
    fields = ("securityContext", "resources", "volumeMounts", "imagePullPolicy")
    image = head.spec["containers"][0]["image"]  # KubeRay's choice
    autoscaler = {"name": "autoscaler", "image": image} | {key: options[key] for key in fields}
    yield Pod(head.name, head.spec | {"containers": [*head.spec["containers"], autoscaler]}, head.metadata)
    for group in cluster["workerGroupSpecs"]:
        yield _make_pod(f"{name}: {group['groupName']}", group["template"])


def _make_pod(name: str, template: dict[str, Any]) -> Pod:
    return Pod(name, template["spec"], template.get("metadata", {}))
