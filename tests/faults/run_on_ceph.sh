#!/bin/sh
# Run tests against a Ceph object store of this machine alone, started here and stopped at the end.
#
#     apt-get install --no-install-recommends ceph-mon ceph-mgr ceph-osd radosgw
#     tests/faults/run_on_ceph.sh [tests for pytest]
#
# Without arguments it runs the whole list of faults and the whole slice with tiles, sources and catalogues on the store;
# options go into PYTEST_ADDOPTS. One monitor, one manager, one OSD that keeps its objects in memory, and the RADOS
# gateway; no root and no disk needed.
# PYTHON names the interpreter, by default .venv/bin/python; PHOTOZ_CEPH_PORT the first of three free ports.
set -eu

cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
port=${PHOTOZ_CEPH_PORT:-23300}
gateway=127.0.0.1:$((port + 2))
folder=$(mktemp -d /tmp/ceph.XXXXXX)
processes=""

stop() {
    status=$?
    trap - EXIT INT TERM
    for process in $processes; do kill "$process" 2>/dev/null || true; done
    for process in $processes; do wait "$process" 2>/dev/null || true; done
    if [ $status -ne 0 ]; then tail -n 5 "$folder"/*.out >&2 || true; fi
    rm -rf "$folder"
    exit $status
}
trap stop EXIT INT TERM

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    left=$1
    shift
    until "$@" >"$folder/wait.out" 2>&1; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            echo "gave up waiting for: $*" >&2
            return 1
        fi
        sleep 1
    done
}

# start NAME COMMAND...: in the background, with its output in a file.
start() {
    name=$1
    shift
    "$@" >"$folder/$name.out" 2>&1 &
    processes="$! $processes"
}

# Only this machine reaches the ports, so the daemons need not prove to each other who they are; the gateway by default
# speaks to its monitor encrypted all the same, and then wants a key.
# Beast waits for full packets unless told otherwise, which costs small requests 40 ms each.
cat >"$folder/ceph.conf" <<CONFIG
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = [v2:127.0.0.1:$port,v1:127.0.0.1:$((port + 1))]
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
run dir = $folder
admin socket = $folder/\$name.asok
log file =
log to stderr = true
public addr = 127.0.0.1
osd objectstore = memstore
memstore device bytes = 4294967296
osd data = $folder/osd
osd crush chooseleaf type = 0
osd fast shutdown notify mon = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
mon data = $folder/mon
mon allow pool size one = true
mon max pg per osd = 1000
mgr data = $folder/mgr
mgr initial modules =
rgw data = $folder/rgw
rgw frontends = beast endpoint=$gateway tcp_nodelay=1
CONFIG
export CEPH_CONF="$folder/ceph.conf"
mkdir "$folder/mon" "$folder/mgr" "$folder/osd" "$folder/rgw"

address="[v2:127.0.0.1:$port,v1:127.0.0.1:$((port + 1))]"
fsid=$(sed -n 's/^fsid = //p' "$CEPH_CONF")
monmaptool --create --addv a "$address" --fsid "$fsid" "$folder/monmap" >/dev/null
ceph-mon -i a --mkfs --monmap "$folder/monmap" 2>"$folder/mkfs.out"
start mon ceph-mon -f -i a
wait_for 60 ceph --connect-timeout 5 mon stat
start mgr ceph-mgr -f -i a
osd=$(cat /proc/sys/kernel/random/uuid)
ceph osd new "$osd" >/dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$osd" 2>>"$folder/mkfs.out"
start osd ceph-osd -f -i 0
wait_for 60 sh -c 'ceph osd stat | grep -q "1 up"'
start rgw radosgw -f -n client.rgw
wait_for 60 curl --silent --fail "http://$gateway"

# Two that stand nowhere else: tests look for them in all that is written.
AWS_ACCESS_KEY_ID=key-$(tr -d - </proc/sys/kernel/random/uuid)
AWS_SECRET_ACCESS_KEY=$(tr -d - </proc/sys/kernel/random/uuid)
radosgw-admin user create --uid photoz --display-name photoz \
    --access-key "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" >/dev/null 2>>"$folder/mkfs.out"
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_DEFAULT_REGION=us-east-1 PHOTOZ_TEST_S3_ENDPOINT="http://$gateway"
ceph --version
# The slice comes last: its Ray runs to the end of all tests, and those that kill workers run one of their own.
[ $# -gt 0 ] || set -- tests/faults tests/cluster/test_object_store.py
"$python" -m pytest -p no:cacheprovider "$@"
