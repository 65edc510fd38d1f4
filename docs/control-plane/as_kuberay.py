#!/usr/bin/env python
"""Print the pods that KubeRay's operator would make of a RayJob, as a Pod, a Deployment, a Service and a Job.

KubeRay's operator cannot be built where this was made. What it adds to a RayCluster's pod templates is added here as it
documents it: labels, `ray start` with the CPUs and memory of the limits, the addresses, the token, shared memory.

    kubectl kustomize OVERLAY | as_kuberay.py photoz-infer [--submit]
"""

import argparse
import json
import math
import secrets
import sys
from typing import Any

import yaml

Manifest = dict[str, Any]
CLUSTER = "photoz"
HEAD = f"{CLUSTER}-head-svc"
TOKEN = [
    {"name": "RAY_AUTH_MODE", "value": "token"},
    {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": CLUSTER, "key": "auth_token"}}},
]
UNITS = {"Mi": 2**20, "Gi": 2**30}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rayjob")
    parser.add_argument("--submit", action="store_true", help="only the pod that submits the job")
    options = parser.parse_args()
    manifests = list(yaml.safe_load_all(sys.stdin))
    (job,) = (each for each in manifests if each["kind"] == "RayJob" and each["metadata"]["name"] == options.rayjob)
    made = [make_submitter(job)] if options.submit else make_cluster(job["spec"]["rayClusterSpec"])
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))


def make_cluster(cluster: Manifest) -> list[Manifest]:
    """Make the head's pod and service, the token, and a Deployment in the place of each group of workers."""
    token = make("v1", "Secret", CLUSTER, stringData={"auth_token": secrets.token_hex(32)})
    ports = [{"name": "gcs", "port": 6379}, {"name": "dashboard", "port": 8265}]
    service = make("v1", "Service", HEAD, spec={"selector": label("head"), "ports": ports})
    head = make_pod(cluster["headGroupSpec"], ["--head"], "head", [{"name": "RAY_ADDRESS", "value": "127.0.0.1:6379"}])
    workers = []
    for group in cluster["workerGroupSpecs"]:
        address = f"{HEAD}:6379"
        pod = make_pod(group, [f"--address={address}"], "worker", [{"name": "RAY_ADDRESS", "value": address}])
        pod["spec"]["restartPolicy"] = "Always"  # a Deployment knows no other
        pod["spec"]["initContainers"] = [make_waiter(pod["spec"]["containers"][0], address)]
        spec = {"replicas": group["maxReplicas"], "selector": {"matchLabels": label("worker")}, "template": pod}
        workers.append(make("apps/v1", "Deployment", group["groupName"], spec=spec))
    return [token, service, make("v1", "Pod", f"{CLUSTER}-head", **head), *workers]


def make_pod(group: Manifest, where: list[str], node: str, env: list[Manifest]) -> Manifest:
    """Complete a group's template."""
    template = group["template"]
    container = template["spec"]["containers"][0]
    limits = container["resources"]["limits"]
    options = {
        "num-cpus": math.ceil(read_quantity(limits["cpu"])),
        "memory": round(read_quantity(limits["memory"])),
        "metrics-export-port": 8080,
        "dashboard-agent-listen-port": 52365,
    } | group["rayStartParams"]
    words = ["ray start", *where, *(f"--{name}={value}" for name, value in options.items()), "--block"]
    container["command"] = ["/bin/bash", "-c", "--"]
    container["args"] = ["ulimit -n 65536; " + " ".join(words)]
    container["env"] = [*container["env"], *env, *TOKEN]
    container["volumeMounts"].append({"name": "shared-mem", "mountPath": "/dev/shm"})
    memory = {"medium": "Memory", "sizeLimit": limits["memory"]}
    template["spec"]["volumes"].append({"name": "shared-mem", "emptyDir": memory})
    template["metadata"]["labels"] = label(node)
    return {"metadata": template["metadata"], "spec": template["spec"]}


def make_waiter(container: Manifest, address: str) -> Manifest:
    """Make the init container that waits for the head."""
    wait = f"until ray health-check --address {address}; do sleep 5; done"
    kept = {key: container[key] for key in ("image", "imagePullPolicy", "env", "securityContext", "resources")}
    mounts = [each for each in container["volumeMounts"] if each["mountPath"].startswith("/tmp")]
    return {
        "name": "wait-gcs-ready",
        "command": ["/bin/bash", "-c", "--"],
        "args": [wait],
        "volumeMounts": mounts,
    } | kept


def make_submitter(job: Manifest) -> Manifest:
    """Make the Job that submits a RayJob's entry point and follows its log."""
    template = job["spec"]["submitterPodTemplate"]
    container = template["spec"]["containers"][0]
    container["command"] = ["ray", "job", "submit", "--address", f"http://{HEAD}:8265", "--"]
    container["args"] = job["spec"]["entrypoint"].split()
    container["env"] = TOKEN
    spec = {"backoffLimit": 0, "template": template}
    return make("batch/v1", "Job", job["metadata"]["name"], spec=spec)


def make(version: str, kind: str, name: str, **fields: Any) -> Manifest:
    metadata = {"name": name, "namespace": "photoz"} | fields.pop("metadata", {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def label(node: str) -> dict[str, str]:
    return {"ray.io/node-type": node, "ray.io/cluster": CLUSTER}


def read_quantity(text: str) -> float:
    if text.endswith("m"):
        return float(text[:-1]) / 1000
    return float(text[:-2]) * UNITS[text[-2:]] if text[-2:] in UNITS else float(text)


if __name__ == "__main__":
    main()
