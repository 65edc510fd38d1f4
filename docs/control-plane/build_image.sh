#!/usr/bin/env bash
# Build the image by deploy/Dockerfile without Docker and without a registry of images: build_image.sh FOLDER
# As root on Debian 12. FOLDER/photoz.tar is the result. Where pip needs settings of its own, PIP_SETTINGS names the file
# and PIP_FOLDERS the folders of packages in it. PyTorch's index is left out where it does not answer: a CPU wheel of torch
# must then be in such a folder.
set -euo pipefail
folder=$(realpath -m "$1")
root=$(realpath "$(dirname "$0")/../..")
mkdir -p "$folder"
apt-get install --yes --no-install-recommends mmdebstrap buildah ca-certificates
store=(--root "$folder/images" --runroot "$folder/run" --storage-driver vfs)
base=docker.io/library/python:3.11-slim-bookworm

# In the place of the official base image: Debian 12 with its own Python 3.11, `python` by that name, and its venv.
if ! buildah "${store[@]}" images --quiet "$base" 2>/dev/null | grep -q .; then
    mmdebstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder/base.tar" http://deb.debian.org/debian
    working=$(buildah "${store[@]}" from scratch)
    buildah "${store[@]}" add "$working" "$folder/base.tar" /
    ln -sf python3 "$folder/python"
    tar --directory "$folder" --create python --owner 0 --group 0 --file "$folder/python.tar"
    buildah "${store[@]}" add "$working" "$folder/python.tar" /usr/bin/
    buildah "${store[@]}" commit --rm "$working" "$base"
    rm "$folder/base.tar" "$folder/python" "$folder/python.tar"
fi

recipe=$root/deploy/Dockerfile
if ! curl --silent --fail --output /dev/null --max-time 15 https://download.pytorch.org/whl/cpu/; then
    recipe=$folder/Dockerfile
    sed 's# --extra-index-url https://download.pytorch.org/whl/cpu##' "$root/deploy/Dockerfile" >"$recipe"
fi
shown=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)
[ -n "${PIP_SETTINGS:-}" ] && shown+=(--volume "$PIP_SETTINGS:/etc/pip.conf:ro")
for place in ${PIP_FOLDERS:-}; do shown+=(--volume "$place:$place:ro"); done
buildah "${store[@]}" bud --isolation chroot --pull-never "${shown[@]}" --ignorefile "$root/deploy/Dockerfile.dockerignore" \
    --file "$recipe" --target cpu --tag docker.io/library/photoz:0.1.0-cpu "$root"
buildah "${store[@]}" push docker.io/library/photoz:0.1.0-cpu "oci-archive:$folder/photoz.tar:docker.io/library/photoz:0.1.0-cpu"
ls -l "$folder/photoz.tar"
