#!/usr/bin/env bash
# Start or stop a Kubernetes of one node on this machine: control_plane.sh start|stop FOLDER
# As root, with the programs of build_kubernetes.sh in FOLDER/bin. FOLDER/kubeconfig is what kubectl needs.
set -euo pipefail
action=$1
folder=$(realpath -m "$2")
address=$(hostname -I | cut -d' ' -f1)
logs=$folder/logs
export PATH=$folder/bin:$PATH:/usr/sbin:/sbin

launch() { # NAME COMMAND...: in the background, its output and its process id in files of that name
    local name=$1
    shift
    setsid "$@" >"$logs/$name.log" 2>&1 </dev/null &
    echo "$name $!" >>"$folder/processes"
}

wait_for() { # SECONDS COMMAND...
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { echo "waited in vain for: $*" >&2; return 1; }
        sleep 1
    done
}

write_settings() {
    mkdir -p "$logs" "$folder/certificates" "$folder/cni" "$folder/containerd" "$folder/state"
    echo "for-this-proof,admin,admin,system:masters" >"$folder/tokens.csv"
    [ -e "$folder/account.key" ] || openssl genrsa -out "$folder/account.key" 2048
    cat >"$folder/kubeconfig" <<EOF
apiVersion: v1
kind: Config
current-context: proof
clusters: [{name: proof, cluster: {server: "https://$address:16443", certificate-authority: $folder/certificates/apiserver.crt}}]
users: [{name: admin, user: {token: for-this-proof}}]
contexts: [{name: proof, context: {cluster: proof, user: admin}}]
EOF
    cat >"$folder/containerd.toml" <<EOF
version = 2
root = "$folder/containerd"
state = "$folder/state"
[grpc]
  address = "$folder/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:1.20"
  restrict_oom_score_adj = true # on machines whose root may not lower it (no CAP_SYS_RESOURCE)
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$folder/cni"
EOF
    cat >"$folder/cni/10-bridge.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "proof", "plugins": [
  {"type": "bridge", "bridge": "proof0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": "$folder/addresses"}},
  {"type": "loopback"}]}
EOF
    # The machine is smaller than the sizes that pods ask for by the settings: their limits of CPU are not enforced.
    cat >"$folder/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cpuCFSQuota: false
failSwapOn: false
clusterDNS: [$address]
clusterDomain: cluster.local
resolvConf: $folder/resolv.conf
evictionHard: {nodefs.available: 1Gi, imagefs.available: 1Gi, memory.available: 200Mi}
imageGCHighThresholdPercent: 100
EOF
    printf 'nameserver %s\nsearch svc.cluster.local cluster.local\noptions ndots:5\n' "$address" >"$folder/resolv.conf"
    touch "$folder/names"
}

import_pause() {
    mkdir -p "$folder/pause"
    cp "$folder/bin/pause" "$folder/pause/"
    local store=(--root "$folder/pause/images" --runroot "$folder/pause/run" --storage-driver vfs) working
    working=$(buildah "${store[@]}" from scratch)
    buildah "${store[@]}" copy --quiet "$working" "$folder/pause/pause" /pause
    buildah "${store[@]}" config --entrypoint '["/pause"]' "$working"
    buildah "${store[@]}" commit --quiet --rm "$working" docker.io/library/pause:1.20
    rm -f "$folder/pause.tar"
    buildah "${store[@]}" push --quiet docker.io/library/pause:1.20 "oci-archive:$folder/pause.tar:docker.io/library/pause:1.20"
    ctr --address "$folder/containerd.sock" --namespace k8s.io images import "$folder/pause.tar"
}

start() {
    write_settings
    sysctl -q net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
    launch etcd etcd --data-dir "$folder/etcd" --listen-client-urls http://127.0.0.1:12379 \
        --advertise-client-urls http://127.0.0.1:12379 --listen-peer-urls http://127.0.0.1:12380
    launch apiserver kube-apiserver --etcd-servers http://127.0.0.1:12379 --secure-port 16443 --bind-address "$address" \
        --advertise-address "$address" --cert-dir "$folder/certificates" --token-auth-file "$folder/tokens.csv" \
        --service-account-issuer https://kubernetes.default.svc --service-account-signing-key-file "$folder/account.key" \
        --service-account-key-file "$folder/account.key" --service-cluster-ip-range 10.96.0.0/16 \
        --authorization-mode RBAC --allow-privileged=true --kubelet-preferred-address-types InternalIP
    export KUBECONFIG=$folder/kubeconfig
    wait_for 60 kubectl get --raw /readyz
    launch controller-manager kube-controller-manager --kubeconfig "$KUBECONFIG" --use-service-account-credentials \
        --service-account-private-key-file "$folder/account.key" --root-ca-file "$folder/certificates/apiserver.crt" \
        --leader-elect=false --port=0 --secure-port=0
    launch scheduler kube-scheduler --kubeconfig "$KUBECONFIG" --leader-elect=false --port=0 --secure-port=0
    launch containerd containerd --config "$folder/containerd.toml"
    wait_for 30 ctr --address "$folder/containerd.sock" version
    import_pause
    launch kubelet kubelet --config "$folder/kubelet.yaml" --kubeconfig "$KUBECONFIG" --root-dir "$folder/kubelet" \
        --container-runtime remote --container-runtime-endpoint "unix://$folder/containerd.sock" --hostname-override proof \
        --node-ip "$address" --node-labels photoz/proof=true
    launch proxy kube-proxy --kubeconfig "$KUBECONFIG" --hostname-override proof --cluster-cidr 10.244.0.0/24 \
        --proxy-mode iptables --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0 \
        --metrics-bind-address 127.0.0.1:11249 --healthz-bind-address 127.0.0.1:11256
    # In the place of CoreDNS, which Debian has not: names of services, written by publish_names.sh.
    launch names dnsmasq --keep-in-foreground --listen-address "$address" --bind-interfaces --no-resolv --no-hosts \
        --addn-hosts "$folder/names" --local=/cluster.local/ --pid-file= --user=root
    wait_for 60 sh -c "kubectl get nodes | grep -w Ready"
}

stop() {
    export KUBECONFIG=$folder/kubeconfig
    local ctr=(ctr --address "$folder/containerd.sock" --namespace k8s.io) name process
    while read -r name process; do
        [ "$name" = containerd ] || kill -- "-$process" 2>/dev/null || true
    done <"$folder/processes"
    for process in $("${ctr[@]}" tasks list --quiet); do "${ctr[@]}" tasks delete --force "$process" &>/dev/null || true; done
    sleep 2
    while read -r name process; do kill -KILL -- "-$process" 2>/dev/null || true; done <"$folder/processes"
    kube-proxy --cleanup >/dev/null 2>&1 || true
    ip link delete proof0 2>/dev/null || true
    grep " $folder/" /proc/mounts | cut -d' ' -f2 | sort -r | xargs --no-run-if-empty umount
    rm "$folder/processes"
}

$action
