#!/usr/bin/env bash
# Run photoz on a real Kubernetes control plane of one node, kill pods, audit: run.sh FOLDER [STEP...]
# Steps, all by default: start define overlays prepare dask ray refuse stop.
# As root on Debian 12; FOLDER has bin/ of build_kubernetes.sh and photoz.tar of build_image.sh. PYTHON is a Python with
# photoz[test], dask-kubernetes; KUBERAY_CRDS a folder with KubeRay's definitions; kubectl 1.27 or newer is on the PATH.
# README.md says what this shows and what it does not.
set -euo pipefail
folder=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
root=$(realpath "$here/../..")
PYTHON=${PYTHON:-$root/.venv/bin/python}
crds=${KUBERAY_CRDS:-$root/../shared/data/crds}
address=$(hostname -I | cut -d' ' -f1)
overlay=$folder/overlay.yaml
export KUBECONFIG=$folder/kubeconfig PYTHONPATH=$root

say() { printf '\n=== [%s] %s\n' "$(date -u +%T)" "$*"; }
photoz() { kubectl --namespace photoz "$@"; }
render() { cat "$overlay"; }
as_kuberay() { render | "$PYTHON" "$here/as_kuberay.py" "$@"; }
# With the cluster's names, the settings of the pods and their credentials, on this machine.
outside() {
    env $(cat "$folder/storage.env") PHOTOZ_CONFIG="$folder/run.toml" unshare --mount sh -c \
        'mount --bind "$0" /etc/resolv.conf; exec "$@"' "$folder/resolv.conf" "$@"
}
survey() { outside "$PYTHON" "$here/survey.py" "$@"; }
job() { (cd "$root" && outside "$PYTHON" "jobs/$1" --set engine.name=serial); }

launch() { # NAME COMMAND...: in the background, with its log, until the step `stop`
    setsid "${@:2}" >"$folder/logs/$1.log" 2>&1 </dev/null &
    echo "$1 $!" >>"$folder/processes"
}

publish_names() { # what CoreDNS would answer, for the name server of control_plane.sh
    while sleep 4; do
        kubectl get services --all-namespaces --output jsonpath="{range .items[*]}{.spec.clusterIP} {.metadata.name}.{.metadata.namespace}.svc.cluster.local{'\n'}{end}" |
            grep -v ^None >"$folder/names.new" || continue
        cmp --silent "$folder/names.new" "$folder/names" && continue
        cat "$folder/names.new" >"$folder/names"
        kill -HUP "$(sed -n 's/^names //p' "$folder/processes")"
    done
}

wait_for() { # SECONDS COMMAND...
    local deadline=$((SECONDS + $1))
    until "${@:2}" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { echo "waited in vain for: ${*:2}"; return 1; }
        sleep 1
    done
}
busiest() { survey done | awk 'NR == 1 {print $1}'; }
count_done() { survey done | awk '{n += $2} END {print n + 0}'; }
has_begun() { [ "$(count_done)" -ge 5 ]; }
delete_busiest() { # OPTION...: of kubectl delete; the pod that estimated most, in the middle of the run
    local victim
    photoz get pods
    victim=$(busiest)
    say "delete $victim"
    photoz delete pod "$victim" --wait=false "$@" 2>/dev/null
    survey done
    [ "$(count_done)" -lt 60 ] || { echo "too late: the run is through"; return 1; }
}

start() {
    say "the control plane"
    "$here/control_plane.sh" start "$folder" >/dev/null
    "$folder/bin/kube-apiserver" --version
    kubectl get nodes
    export -f publish_names
    export folder
    launch publish_names bash -c publish_names
    ctr --address "$folder/containerd.sock" --namespace k8s.io images import "$folder/photoz.tar"
}

define() {
    say "the operators' definitions"
    for file in "$crds"/ray.io_*.yaml; do "$PYTHON" "$here/strip_crds.py" "$file" | kubectl create -f -; done
    kubectl create -f "$("$PYTHON" -c 'import dask_kubernetes as d; print(d.__path__[0])')/operator/deployment/helm/dask-kubernetes-operator/crds"
    kubectl wait --for condition=established --timeout=60s crd --all >/dev/null
    sleep 5
}

# Server-side dry run needs the namespace, so every overlay's is made first; then all objects are made, and removed.
overlays() {
    for name in laptop cpu gpu; do
        say "overlay $name: by server-side dry run, then made"
        kubectl kustomize "$root/deploy/overlays/$name" >"$folder/$name.yaml"
        kubectl create namespace photoz >/dev/null
        kubectl apply --dry-run=server -f "$folder/$name.yaml" 2>&1 | grep -v ^Warning
        kubectl apply -f "$folder/$name.yaml" 2>&1 | grep -c -v ^Warning | sed 's/$/ objects made/'
        photoz get rayclusters,rayjobs,daskjobs --output name
        kubectl delete namespace photoz >/dev/null
    done
    say "monitoring"
    kubectl create namespace monitoring >/dev/null
    kubectl apply -k "$root/deploy/monitoring"
    say "a wrong RayJob is refused"
    kubectl create namespace photoz >/dev/null
    "$PYTHON" -c 'import sys, yaml
for each in yaml.safe_load_all(sys.stdin):
    if each["metadata"]["name"] == "photoz-infer":
        print(yaml.dump(each | {"spec": each["spec"] | {"backoffLimit": "three"}}))' <"$folder/cpu.yaml" |
        kubectl apply --validate=false -f - && return 1
    kubectl delete namespace photoz >/dev/null
}

prepare() {
    say "the object store, outside the cluster behind a Service, and the platform of overlay/"
    launch store env S3_IGNORE_SUBDOMAIN_BUCKETNAME=true "$PYTHON" -m moto.server -H "$address" -p 19000
    kubectl create namespace storage
    kubectl create -f - <<EOF
{"apiVersion": "v1", "kind": "List", "items": [
 {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "objects", "namespace": "storage"}, "spec": {"ports": [{"port": 9000, "targetPort": 19000}]}},
 {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "objects", "namespace": "storage"}, "subsets": [{"addresses": [{"ip": "$address"}], "ports": [{"port": 19000}]}]}]}
EOF
    kubectl kustomize "$here/overlay" >"$overlay"
    kubectl apply -k "$here/overlay" -l photoz/step=platform
    printf 'AWS_ACCESS_KEY_ID=proof\nAWS_SECRET_ACCESS_KEY=%s\n' "$(openssl rand -hex 16)" >"$folder/storage.env"
    kubectl create secret generic photoz-storage --namespace photoz --from-env-file="$folder/storage.env"
    photoz get configmap photoz-run --output jsonpath='{.data.run\.toml}' >"$folder/run.toml"
    wait_for 60 outside "$PYTHON" -c 'import urllib.request as u; u.urlopen("http://objects.storage:9000")'
    survey make
}

check() { # LOG: what a run must have left
    say "audit and status, from outside"
    job audit_catalogue.py
    job status.py
    survey done
    survey secrets
    ! grep -F "$(sed -n 's/^AWS_SECRET_ACCESS_KEY=//p' "$folder/storage.env")" "$1"
    echo "the job's log does not hold the secret"
}

dask() {
    survey forget
    say "Dask: the operator, then the DaskJob; a worker pod is deleted"
    launch operator unshare --mount sh -c 'mount --bind "$0" /etc/resolv.conf; exec "$@"' "$folder/resolv.conf" \
        "$PYTHON" -m kopf run --module dask_kubernetes.operator.controller --all-namespaces
    kubectl apply -k "$here/overlay" -l photoz/step=infer-dask
    wait_for 600 photoz wait --for condition=ready pod -l dask.org/component=job-runner --timeout=1s
    launch dask kubectl --namespace photoz logs --follow -l dask.org/component=job-runner --tail=-1
    wait_for 900 has_begun
    delete_busiest
    wait_for 1200 sh -c "kubectl --namespace photoz get daskjob photoz-dask --output jsonpath='{.status.jobStatus}' | grep -E 'Successful|Failed'"
    photoz get daskjob photoz-dask --output jsonpath='{.status.jobStatus}{"\n"}'
    cat "$folder/logs/dask.log"
    check "$folder/logs/dask.log"
    photoz get daskjob photoz-dask --output jsonpath='{.status.jobStatus}' | grep -q Successful
    photoz delete daskjob photoz-dask
    wait_for 300 sh -c '! kubectl --namespace photoz get pods --output name | grep .'
}

submit() { # RAYJOB: as KubeRay's submitter does; its log is the job's
    as_kuberay "$1" --submit | kubectl apply -f -
    wait_for 600 sh -c "kubectl --namespace photoz logs job/$1"
}

ray() {
    survey forget
    say "Ray: head and workers as KubeRay makes them of RayJob photoz-infer"
    as_kuberay photoz-infer | kubectl apply -f -
    photoz wait --for condition=ready pod/photoz-head --timeout=600s
    submit photoz-infer
    launch ray kubectl --namespace photoz logs --follow job/photoz-infer
    wait_for 900 has_begun
    delete_busiest --grace-period=0 --force
    wait_for 1200 sh -c "kubectl --namespace photoz get job photoz-infer --output jsonpath='{.status}' | grep -E 'succeeded|failed'"
    photoz get pods
    cat "$folder/logs/ray.log"
    check "$folder/logs/ray.log"
    photoz wait --for condition=complete job/photoz-infer --timeout=1s
    say "Ray: RayJob photoz-audit's entry point in the same cluster"
    submit photoz-audit
    photoz wait --for condition=complete job/photoz-audit --timeout=600s
    photoz logs job/photoz-audit
}

refuse() {
    say "without a token the job port refuses"
    { photoz exec photoz-head -- python -c 'import urllib.request as u; u.urlopen("http://photoz-head-svc:8265/api/jobs/")' 2>&1 || true; } |
        grep -F "HTTP Error 401"
}

stop() {
    say "stop"
    "$here/control_plane.sh" stop "$folder"
}

mkdir -p "$folder/logs"
steps=("${@:2}")
[ ${#steps[@]} -gt 0 ] || steps=(start define overlays prepare dask ray refuse stop)
for step in "${steps[@]}"; do $step; done
say "all of it came out as it should: ${steps[*]}"
