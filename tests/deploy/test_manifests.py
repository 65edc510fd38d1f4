"""Every manifest of every overlay against the schemas of Kubernetes, KubeRay and dask-kubernetes, and the code."""

import importlib.util
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from rendered import DEPLOY, JOBS, OVERLAYS, ROOT, Manifest, find, list_pods, read_values, render, render_overlay

import cluster.training.plan
from cluster.engines.ray import check_resources
from photoz.settings import DEFAULT_CONFIG_VARIABLE
from photoz.settings.config import Config, load_config

KUBERNETES = "1.32.0"
CRDS = Path(os.environ.get("PHOTOZ_CRDS", ROOT.parent / "shared" / "data" / "crds"))
CORE = {"Namespace", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "ConfigMap"}
RESTRICTED_VOLUMES = {"configMap", "downwardAPI", "emptyDir", "projected", "secret"}
RAY_OBJECT_STORE = 0.3  # of a pod's memory: Ray's default
READER_CPUS = 0.5  # what cluster.engines.ray asks for a task that reads
GIB = {"Mi": 2**-10, "Gi": 1.0}

overlays = pytest.mark.parametrize("overlay", OVERLAYS)


@overlays
def test_core_objects_follow_kubernetes_schemas(overlay: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kinds = set()
    for each in render_overlay(overlay):
        if each["kind"] in CORE:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
        kinds.add(each["kind"])
    assert kinds == CORE | {"RayCluster", "RayJob", "DaskJob"}


@overlays
def test_pods_follow_kubernetes_schemas(overlay: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for pod in list_pods(render_overlay(overlay)):
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"} | pod.metadata, "spec": pod.spec}
        kubernetes_validate.validate(whole, KUBERNETES, strict=True)
    dask = find(render_overlay(overlay), "DaskJob", "photoz-dask")["spec"]["cluster"]["spec"]["scheduler"]["service"]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": dask}
    kubernetes_validate.validate(service, KUBERNETES, strict=True)


@overlays
def test_ray_objects_follow_kuberays_schemas(overlay: str) -> None:
    if not CRDS.is_dir():
        pytest.skip(f"no CRDs of KubeRay in {CRDS}; PHOTOZ_CRDS may name another folder")
    for each in render_overlay(overlay):
        if each["kind"] in ("RayCluster", "RayJob"):
            check_custom(each, str(CRDS / f"ray.io_{each['kind'].lower()}s.yaml"))


@overlays
def test_dask_objects_follow_the_operators_schemas(overlay: str) -> None:
    package = importlib.util.find_spec("dask_kubernetes")
    if package is None or package.origin is None:
        pytest.skip("dask-kubernetes is not installed")
    folder = Path(package.origin).parent / "operator" / "deployment" / "helm" / "dask-kubernetes-operator" / "crds"
    check_custom(find(render_overlay(overlay), "DaskJob", "photoz-dask"), str(folder / "daskjob.yaml"))


def test_a_wrong_manifest_is_refused() -> None:
    if not CRDS.is_dir():
        pytest.skip(f"no CRDs of KubeRay in {CRDS}")
    good = find(render_overlay("laptop"), "RayJob", "photoz-infer")
    for wrong in ({"backofLimit": 3}, {"backoffLimit": "3"}, {"submitterConfig": {"limit": 3}}):
        with pytest.raises(jsonschema.ValidationError):
            check_custom(good | {"spec": good["spec"] | wrong}, str(CRDS / "ray.io_rayjobs.yaml"))


def check_custom(manifest: Manifest, crd: str) -> None:
    """Validate an object against its version's schema in a CustomResourceDefinition; an unknown field is an error."""
    _, _, version = manifest["apiVersion"].partition("/")
    error = jsonschema.exceptions.best_match(load_validator(crd, version).iter_errors(manifest))
    if error:
        raise error


@cache
def load_validator(crd: str, version: str) -> jsonschema.Draft202012Validator:
    definition = yaml.load(Path(crd).read_text(), Loader=yaml.CSafeLoader)
    versions = {each["name"]: each["schema"]["openAPIV3Schema"] for each in definition["spec"]["versions"]}
    schema = versions[version]
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}  # what an API server knows by itself
    forbid_unknown(schema)
    return jsonschema.Draft202012Validator(schema)


def forbid_unknown(schema: Any) -> None:
    """Make an unknown field an error, where an API server would silently drop it."""
    if isinstance(schema, list):
        for each in schema:
            forbid_unknown(each)
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            if not schema.get("x-kubernetes-preserve-unknown-fields"):
                schema.setdefault("additionalProperties", False)
            for each in schema["properties"].values():
                forbid_unknown(each)
        for key in ("items", "additionalProperties"):
            forbid_unknown(schema.get(key))


@overlays
def test_pods_keep_to_the_restricted_standard(overlay: str) -> None:
    manifests = render_overlay(overlay)
    labels = find(manifests, "Namespace", "photoz")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in list_pods(manifests):
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"], pod.name
        assert context["runAsUser"] == context["runAsGroup"] == 1000, pod.name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, pod.name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys(), pod.name
        volumes = {each["name"]: (each.keys() - {"name"}).pop() for each in pod.spec["volumes"]}
        assert set(volumes.values()) <= RESTRICTED_VOLUMES, pod.name
        for container in pod.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }, pod.name
            mounts = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}
            assert mounts["/tmp"] == "emptyDir", pod.name
            assert not any("hostPort" in port for port in container.get("ports", ())), pod.name


@overlays
def test_only_the_autoscaler_is_given_a_token_of_the_api_server(overlay: str) -> None:
    manifests = render_overlay(overlay)
    for pod in list_pods(manifests):
        assert pod.spec["automountServiceAccountToken"] is False, pod.name
        projected = {each["name"] for each in pod.spec["volumes"] if "projected" in each}
        holders = {c["name"] for c in pod.containers for each in c["volumeMounts"] if each["name"] in projected}
        assert holders <= {"autoscaler"}, pod.name
        assert pod.spec["serviceAccountName"] == ("photoz-head" if holders else "photoz"), pod.name
    role = find(manifests, "Role", "photoz-head")
    verbs = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert not {resource for resource, _ in verbs} - {"pods", "rayclusters"}
    assert not {verb for _, verb in verbs} - {"get", "list", "watch", "patch"}


@overlays
def test_nothing_is_open_beyond_the_cluster(overlay: str) -> None:
    manifests = render_overlay(overlay)
    assert not {each["kind"] for each in manifests} & {"Service", "Ingress", "Route", "Secret"}
    for spec in list_clusters(manifests):
        assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
        assert not spec["headGroupSpec"].get("enableIngress")
        assert spec["authOptions"] == {"mode": "token"}
    dask = find(manifests, "DaskJob", "photoz-dask")["spec"]["cluster"]["spec"]["scheduler"]["service"]
    assert dask["type"] == "ClusterIP"
    deny = find(manifests, "NetworkPolicy", "deny-all")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in (each for each in manifests if each["kind"] == "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", ()):
            assert rule["from"], policy["metadata"]["name"]
            assert not any("ipBlock" in peer for peer in rule["from"])


def test_the_policies_name_ports_that_the_pods_have() -> None:
    manifests = render_overlay("cpu")
    named = {port["containerPort"]: port["name"] for pod in list_pods(manifests) for c in pod.containers
             for port in c.get("ports", ())}  # fmt: skip
    wanted = {port["port"] for policy in manifests if policy["kind"] == "NetworkPolicy"
              for rule in policy["spec"].get("ingress", ()) for port in rule.get("ports", ())}  # fmt: skip
    assert {port: named[port] for port in wanted} == {
        8265: "dashboard", 8080: "metrics", 8786: "tcp-comm", 8787: "http-dashboard",
    }  # fmt: skip
    for pod in list_pods(manifests):
        annotations = pod.metadata.get("annotations", {})
        if "prometheus.io/port" in annotations:
            assert named[int(annotations["prometheus.io/port"])] == "metrics"
            assert annotations["prometheus.io/scrape"] == "true"


def test_probes_ask_what_ray_answers_without_a_token() -> None:
    import ray.dashboard.http_server_agent
    import ray.dashboard.http_server_head

    heads = Path(ray.dashboard.http_server_head.__file__).read_text()
    agents = Path(ray.dashboard.http_server_agent.__file__).read_text()
    for pod in list_pods(render_overlay("gpu")):
        for container in pod.containers:
            if container["name"] in ("ray-head", "ray-worker"):
                answering, port = (heads, 8265) if container["name"] == "ray-head" else (agents, 52365)
                for probe in ("readinessProbe", "livenessProbe"):
                    asked = container[probe]["httpGet"]
                    assert asked["port"] == port
                    assert f'"{asked["path"]}"' in answering


@overlays
def test_no_secret_is_written_down(overlay: str) -> None:
    values = read_values(overlay)
    for pod in list_pods(render_overlay(overlay)):
        for container in pod.containers:
            for variable in container.get("env", ()):
                assert not re.search("KEY|SECRET|TOKEN|PASSWORD", variable["name"]), pod.name
            for source in container.get("envFrom", ()):
                assert source == {"secretRef": {"name": values["storage"]["secret"]}}, pod.name


@overlays
def test_entry_points_are_jobs(overlay: str) -> None:
    manifests = render_overlay(overlay)
    work_folder = re.findall(r"^WORKDIR (\S+)$", (DEPLOY / "Dockerfile").read_text(), re.M)
    assert len(work_folder) == 1
    for step in JOBS:
        job = find(manifests, "RayJob", f"photoz-{step}")
        assert job["metadata"]["labels"]["photoz/step"] == step
        assert job["spec"]["backoffLimit"] == read_values(overlay)["retries"] > 0
        assert job["spec"]["shutdownAfterJobFinishes"]
        check_job_script(job["spec"]["entrypoint"])
    (container,) = find(manifests, "DaskJob", "photoz-dask")["spec"]["job"]["spec"]["containers"]
    assert container["command"] == ["python"]
    check_job_script(container["args"][0])
    for pod in list_pods(manifests):
        for each in pod.containers:
            assert each.get("workingDir") in ({None} if each["name"] in ("autoscaler", "ray-job-submitter")
                                              else set(work_folder)), pod.name  # fmt: skip


def check_job_script(entry_point: str) -> None:
    script = ROOT / entry_point
    assert entry_point.startswith("jobs/")
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env python\n")


@overlays
def test_the_settings_are_read_where_the_jobs_look(overlay: str, tmp_path: Path) -> None:
    manifests = render_overlay(overlay)
    settings = find(manifests, "ConfigMap", "photoz-run")
    for pod in list_pods(manifests):
        for container in pod.containers:
            for variable in container.get("env", ()):
                assert variable["name"] == DEFAULT_CONFIG_VARIABLE
                folder, _, file = variable["value"].rpartition("/")
                (mount,) = (each for each in container["volumeMounts"] if each["mountPath"] == folder)
                (volume,) = (each for each in pod.spec["volumes"] if each["name"] == mount["name"])
                assert volume["configMap"]["name"] == settings["metadata"]["name"]
                assert file in settings["data"]
    config = load_settings(overlay, tmp_path)
    assert all(location.startswith("s3://") for location in vars_of(config.locations))
    arguments = find(manifests, "DaskJob", "photoz-dask")["spec"]["job"]["spec"]["containers"][0]["args"][1:]
    assert arguments[::2] == ["--set"] * (len(arguments) // 2)
    assert load_config(str(tmp_path / "run.toml"), arguments[1::2]).engine.name == "dask"


def vars_of(section: Any) -> Iterator[str]:
    return (getattr(section, name) for name in section.__struct_fields__)


def load_settings(overlay: str, folder: Path) -> Config:
    (folder / "run.toml").write_text(find(render_overlay(overlay), "ConfigMap", "photoz-run")["data"]["run.toml"])
    return load_config(str(folder / "run.toml"))


@overlays
def test_sizes_fit_the_settings(overlay: str, tmp_path: Path) -> None:
    manifests, config = render_overlay(overlay), load_settings(overlay, tmp_path)
    engine, training = config.engine, config.training
    for spec in list_clusters(manifests):
        groups = {each["groupName"]: each for each in spec["workerGroupSpecs"]}
        assert groups.keys() == ({"readers", "estimators"} if overlay == "gpu" else {"readers"})
        assert all(group["minReplicas"] == group["replicas"] == 0 for group in groups.values())
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        most = {"CPU": 0.0, "GPU": 0.0}
        for group in groups.values():
            cpus, gpus, gib = measure(group["template"]["spec"]["containers"][0])
            most["CPU"] += group["maxReplicas"] * cpus
            most["GPU"] += group["maxReplicas"] * gpus
            assert gib * (1 - RAY_OBJECT_STORE) >= cpus * engine.memory_gib
        assert most == {"CPU": engine.most_cpus, "GPU": engine.most_gpus}
        check_resources(most, engine)
        assert engine.workers * READER_CPUS + engine.estimators * engine.cpus_per_estimator <= most["CPU"]
        cluster.training.plan.check_workers(training, most)
        holder = groups["estimators" if overlay == "gpu" else "readers"]["template"]["spec"]["containers"][0]
        cpus, gpus, _ = measure(holder)
        assert engine.cpus_per_estimator <= cpus
        assert engine.gpus_per_estimator <= gpus
        assert training.spreading.use_gpu == bool(gpus)
        assert training.spreading.cpus_per_worker <= cpus
        assert config.inference.threads <= max(1.0, engine.cpus_per_estimator)
    (worker,) = find(manifests, "DaskJob", "photoz-dask")["spec"]["cluster"]["spec"]["worker"]["spec"]["containers"]
    cpus, _, gib = measure(worker)
    assert worker["args"][:2] == ["dask", "worker"]
    assert gib >= engine.memory_gib
    assert cpus >= config.inference.threads


def measure(container: dict[str, Any]) -> tuple[float, float, float]:
    """Return CPUs, GPUs and GiB of a container, whose requests are its limits: it gets what Ray is told it has."""
    limits = container["resources"]["limits"]
    assert container["resources"]["requests"] == limits
    memory, unit = re.fullmatch(r"(\d+)(\w\w)", limits["memory"]).groups()  # type: ignore[union-attr]
    return float(limits["cpu"]), float(limits.get("nvidia.com/gpu", 0)), float(memory) * GIB[unit]


def list_clusters(manifests: tuple[Manifest, ...]) -> list[dict[str, Any]]:
    """List the Ray cluster that stays and those of the jobs, which are made by its pattern."""
    stays = find(manifests, "RayCluster", "photoz")["spec"]
    pattern = {key: value for key, value in stays.items() if key != "gcsFaultToleranceOptions"}
    of_jobs = [each["spec"]["rayClusterSpec"] for each in manifests if each["kind"] == "RayJob"]
    assert of_jobs == [pattern] * len(JOBS)
    return [stays, *of_jobs]


@overlays
def test_one_file_is_to_be_edited(overlay: str) -> None:
    """Whatever stands in values.yaml goes somewhere, and nowhere else is an overlay said what it is."""
    used = {
        source["source"]["fieldPath"]
        for folder in (DEPLOY / "components").iterdir()
        for source in yaml.safe_load((folder / "kustomization.yaml").read_text()).get("replacements", ())
    }
    values = read_values(overlay)
    for section, content in values.items():
        if section in ("apiVersion", "kind", "metadata"):
            continue
        paths = {f"{section}.{key}" for key in content} if isinstance(content, dict) else {section}
        assert paths <= used, section
    rest = {path.name for path in (DEPLOY / "overlays" / overlay).iterdir()}
    assert rest == {"kustomization.yaml", "values.yaml"}
    text = (DEPLOY / "overlays" / overlay / "kustomization.yaml").read_text()
    assert not re.search(r"\d{2,}|s3:|image", text)


def test_the_image_has_the_ray_that_the_manifests_name() -> None:
    version = find(render_overlay("cpu"), "RayCluster", "photoz")["spec"]["rayVersion"]
    for lock in (DEPLOY / "locks").glob("*.txt"):
        assert f"\nray=={version} " in lock.read_text(), lock.name
    for overlay, target in (("laptop", "cpu"), ("cpu", "cpu"), ("gpu", "cuda")):
        assert read_values(overlay)["image"]["name"].endswith(f"-{target}")
        assert re.search(rf"^FROM \S+ AS {target}$", (DEPLOY / "Dockerfile").read_text(), re.M)


def test_the_guide_names_every_step() -> None:
    guide = (DEPLOY / "README.md").read_text()
    steps = {each["metadata"]["labels"]["photoz/step"] for each in render_overlay("gpu")}
    assert steps == {"platform", "cluster", "infer-dask", *JOBS}
    assert {step for step in steps if f"photoz/step={step}" not in guide} == set()
    for file in re.findall(r"\]\(((?!http)[^)#]+)\)", guide):
        assert (DEPLOY / file).exists(), file


def test_the_monitoring_manifests_follow_kubernetes_schemas() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    names = set()
    for each in render("monitoring"):
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
        names.add(each["metadata"]["name"])
    assert names == {"photoz-dashboard", "photoz-alerts"}
