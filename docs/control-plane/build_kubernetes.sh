#!/usr/bin/env bash
# Build Kubernetes' programs from Debian's source package, with Debian's Go: build_kubernetes.sh FOLDER
# As root on Debian 12; some 5 minutes and 4 GB. FOLDER/bin gets the programs, FOLDER/build may go afterwards.
set -euo pipefail
folder=$(realpath -m "$1")
tree=$folder/build/go/src/k8s.io/kubernetes
mkdir -p "$folder/bin" "$folder/build/apt/partial" "$(dirname "$tree")"

apt-get install --yes --no-install-recommends dpkg-dev gcc libc6-dev golang-go golang-github-modern-go-reflect2-dev

# Debian's source packages, by a list of our own: the machine's may name none.
echo "deb-src http://deb.debian.org/debian bookworm main" >"$folder/build/sources.list"
apt=(-o "Dir::Etc::sourcelist=$folder/build/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$folder/build/apt")
apt-get update "${apt[@]}"
cd "$folder/build"
apt-get source "${apt[@]}" --download-only kubernetes
[ -d "$tree" ] || dpkg-source --no-check -x kubernetes_*.dsc "$tree"
cd "$tree"

# The vendored reflect2 reads Go's own tables as Go 1.16 laid them out; built with 1.19, every program ends in SIGSEGV.
rm -rf vendor/github.com/modern-go/reflect2
cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/

export GOPATH=$folder/build/go GO111MODULE=off CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOCACHE=$folder/build/cache
# The API server's own description, which the package lacks and Kubernetes' Makefile would generate.
go build -o "$folder/build/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
tagged=$(grep --dereference-recursive --include='*.go' --files-with-matches '+k8s:openapi-gen=' pkg vendor/k8s.io |
    grep -v -E '/(code-generator|sample-apiserver|sample-controller|kube-openapi)/|_test.go$|zz_generated' | xargs -n1 dirname |
    sort -u | sed 's#^#k8s.io/kubernetes/#' | paste -sd,)
"$folder/build/openapi-gen" --go-header-file hack/boilerplate/boilerplate.generatego.txt --logtostderr \
    --input-dirs "$tagged" --output-package k8s.io/kubernetes/pkg/generated/openapi --output-file-base zz_generated.openapi \
    --report-filename /dev/null

version=k8s.io/kubernetes/vendor/k8s.io/component-base/version
flags="-s -w -X $version.gitVersion=v1.20.2 -X $version.gitMajor=1 -X $version.gitMinor=20"
go build -ldflags "$flags" -o "$folder/bin/" ./cmd/kube-apiserver ./cmd/kube-controller-manager ./cmd/kube-scheduler \
    ./cmd/kubelet ./cmd/kube-proxy
# What holds a pod's network; containerd would pull an image of it.
gcc -Os -static -DVERSION=1.20 -o "$folder/bin/pause" build/pause/linux/pause.c
ls -l "$folder/bin"
