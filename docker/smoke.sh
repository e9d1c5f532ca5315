#!/usr/bin/env bash
# Builds the CPU image with the Dockerfile and tests it in a real engine, from Debian packages and
# PyPI alone: no registry is needed. Run as root, after ./run_all.sh made .venv.
#
# Where the pinned base image cannot be had, debootstrap makes a stand-in, which gets this machine's
# certificates and nothing else. BASE_IMAGE names another base. Where torch's own index cannot be
# reached, the CPU build that this machine's pip finds is offered in its place; the lock's hashes
# decide whether it is the same file. What the smoke test started, it stops.
set -euo pipefail
cd "$(dirname "$0")/.."
repro=$PWD/.venv/bin/repro
work=$(mktemp -d)
image=repro:smoke
stop=()

finish() {
    local code=$?
    for process in "${stop[@]}"; do
        kill "$process" 2>/dev/null || true
    done
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
say() { printf '\n== %s\n' "$*"; }
fail() {
    echo "smoke test failed: $*" >&2
    exit 1
}
# expect CODE TEXT COMMAND...: the command ends with this code, and says this.
expect() {
    local code=$1 text=$2 got=0
    shift 2
    "$@" >"$work/said" 2>&1 || got=$?
    cat "$work/said"
    [ "$got" = "$code" ] || fail "exit code $got, not $code: $*"
    tr -s '[:space:]' ' ' <"$work/said" | grep -qF -- "$text" || fail "nothing said of '$text': $*"
}
# folders NAME: new folders for a container's results and cache, which its user may write to.
folders() {
    install -d -o 1000 -g 1000 "$work/$1/results" "$work/$1/cache"
}
# contained NAME ARGUMENT...: the image on these folders, locked up as far as it goes.
contained() {
    local name=$1
    shift
    docker run --rm --read-only --tmpfs /tmp --network none --cap-drop ALL \
        -v "$work/$name/results:/results" -v "$work/$name/cache:/cache" "$@"
}

say "engine"
[ "$(id -u)" = 0 ] || fail "it needs root, to start an engine and to make a base image"
[ -x "$repro" ] || fail "no .venv yet; try: ./run_all.sh"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
    --editable '.[docker]'
missing=()
command -v dockerd >/dev/null || missing+=(docker.io)
command -v debootstrap >/dev/null || missing+=(debootstrap)
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "${missing[@]}" >/dev/null
fi
if ! docker info >/dev/null 2>&1; then
    dockerd >"$work/dockerd.log" 2>&1 &
    stop+=($!)
    for _ in $(seq 60); do
        docker info >/dev/null 2>&1 && break
        sleep 1
    done
    docker info >/dev/null 2>&1 || { tail -20 "$work/dockerd.log"; fail "dockerd does not start"; }
fi
docker version --format 'client {{.Client.Version}}, engine {{.Server.Version}}'

# Measured: 4.9 GB at most, for the image, its layers once more while it is saved, and the archive.
for folder in "$(docker info --format '{{.DockerRootDir}}')" "$work"; do
    free=$(df --output=avail -BG "$folder" | tail -1 | tr -dc 0-9)
    [ "$free" -ge 6 ] || fail "$free GB are free in $folder; it needs 6"
done

say "base image"
arguments=(--network host)
pinned=$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile)
base=${BASE_IMAGE:-$pinned}
if ! docker image inspect "$base" >/dev/null 2>&1 && ! timeout 120 docker pull -q "$base"; then
    base="repro-stand-in:base"
fi
if [ "$base" = repro-stand-in:base ] && ! docker image inspect "$base" >/dev/null 2>&1; then
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/base" >"$work/log" 2>&1 ||
        { tail -20 "$work/log"; fail "debootstrap"; }
    # Each certificate by itself, as update-ca-certificates wants them.
    awk -v to="$work/base/usr/local/share/ca-certificates" '
        /BEGIN CERT/ { file = sprintf("%s/%03d.crt", to, ++count) }
        file { print >file }
        /END CERT/ { close(file); file = "" }' /etc/ssl/certs/ca-certificates.crt
    chroot "$work/base" update-ca-certificates >/dev/null 2>&1
    tar -C "$work/base" -c . | docker import - "$base"
    rm -rf "$work/base"
fi
echo "$base"
case $base in
*ubuntu*) ;;
*) arguments+=(--build-arg APT_SNAPSHOT=) ;;
esac

say "build"
index=https://download.pytorch.org/whl/cpu/
if ! .venv/bin/python -c "import urllib.request as u; u.urlopen('$index', timeout=5)" 2>/dev/null; then
    version=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' docker/cpu.lock)
    mkdir -p "$work/index/torch"
    .venv/bin/pip download --quiet --no-deps --dest "$work/index/torch" "torch==$version"
    python3 -m http.server 8765 --bind 127.0.0.1 --directory "$work/index" >/dev/null 2>&1 &
    stop+=($!)
    arguments+=(--build-arg TORCH_INDEX=http://127.0.0.1:8765/)
fi
"$repro" docker build --variant cpu --tag "$image" --base-image "$base" "${arguments[@]}" \
    >"$work/build" 2>&1 || { tail -40 "$work/build"; fail "the image was not built"; }
grep '^\[' "$work/build"

say "what is in it"
expect 0 "as in this checkout" "$repro" docker verify --image "$image"
docker image inspect --format '{{json .Config.Labels}}' "$image"
[ "$(docker run --rm --entrypoint id "$image" -u)" = 1000 ] || fail "it runs as root"

say "doctor: read-only, not root, no network"
folders whole
expect 0 "in the kit, hashes right" contained whole "$image" doctor

say "part of the grid without a GPU, verified; the numbers outside are the same"
part=(--variants "base,amazon-ft-2000,socialqa-fticl2-2000" --figures "3,4" --verify)
expect 0 "profile embedded: no GPU here" contained whole "$image" run --profile auto "${part[@]}"
"$repro" run "${part[@]}" --store "$work/store" --out "$work/outside" >/dev/null
inside=$work/whole/results/embedded-published-code
# What a fine-tune notes of the versions names Python's own, which the base image decides.
sed -i 's/"python": "[^"]*"/"python": ""/' "$inside/finetunes.jsonl" "$work/outside/finetunes.jsonl"
for name in results.jsonl finetunes.jsonl prompts.jsonl samples; do
    diff -r "$inside/$name" "$work/outside/$name" >/dev/null || fail "$name differs inside and outside"
done
wc -l "$inside/results.jsonl"
echo "results, fine-tunes, prompts and samples: the same bytes inside and outside"

say "stopped while it works, then started again: the same bytes"
folders cut
docker run --detach --name repro-smoke-cut --read-only --tmpfs /tmp --network none \
    -v "$work/cut/results:/results" -v "$work/cut/cache:/cache" "$image" run "${part[@]}" >/dev/null
until docker logs repro-smoke-cut 2>&1 | grep -q '^\[2/'; do
    [ "$(docker inspect -f '{{.State.Running}}' repro-smoke-cut)" = true ] ||
        fail "the container ended before it could be stopped"
    sleep 0.2
done
docker stop --time 60 repro-smoke-cut >/dev/null
[ "$(docker inspect -f '{{.State.ExitCode}}' repro-smoke-cut)" = 130 ] ||
    fail "SIGTERM did not end it with exit code 130: $(docker logs repro-smoke-cut 2>&1 | tail -40)"
docker logs repro-smoke-cut 2>&1 | tail -1
docker rm repro-smoke-cut >/dev/null
expect 0 "cells in" contained cut "$image" run "${part[@]}"
diff -r "$inside/results.jsonl" "$work/cut/results/embedded-published-code/results.jsonl" ||
    fail "results.jsonl differs after an interruption"

say "what goes wrong is told"
folders closed
chown root: "$work/closed/results"
expect 3 "that user 1000 can write to" contained closed "$image"
expect 3 "GPU fail torch" contained whole "$image" doctor --profile small
expect 0 "vanishes with the container" docker run --rm --network none "$image" \
    run --cells base.sst2.p1.0 --rows 4

say "repro docker run: owner, exit code, interrupt, no GPU"
few=(run --cells base.sst2.p1.0 --rows 4)
install -d -o 1234 -g 1234 "$work/other" "$work/other/results" "$work/other/cache"
theirs=(docker run --image "$image" --results "$work/other/results" --cache "$work/other/cache")
expect 0 "1 cell in" "$repro" "${theirs[@]}" --user 1234:1234 --offline -- "${few[@]}"
[ "$(stat -c %u "$work/other/results/embedded-published-code/results.jsonl")" = 1234 ] ||
    fail "results do not belong to --user"
expect 2 "unknown variant" "$repro" "${theirs[@]}" -- run --variants nobody
expect 3 "NVIDIA" "$repro" "${theirs[@]}" --gpus all -- doctor
expect 3 "No such image" "$repro" "${theirs[@]}" --image repro:nowhere
"$repro" docker run --image "$image" --results "$work/late/results" --cache "$work/late/cache" \
    -- run >"$work/said" 2>&1 &
late=$!
until grep -q '^\[2/26\]' "$work/said"; do
    kill -0 "$late" || fail "the run ended before it could be interrupted"
    sleep 0.2
done
kill -TERM "$late"
code=0
wait "$late" || code=$?
[ "$code" = 130 ] || fail "an interrupted repro docker run ended with exit code $code, not 130"
[ -z "$(docker ps --all --quiet --filter ancestor="$image")" ] || fail "it left its container"
tail -2 "$work/said"

say "archive"
expect 0 "sha256" "$repro" docker save --image "$image" --out "$work/archive"
(cd "$work/archive" && sed -n 's/.*"sha256": "\(.*\)".*/\1  repro-smoke.tar/p' repro-smoke.json |
    sha256sum --check --quiet) || fail "the archive is not what its .json says"
docker load --quiet --input "$work/archive/repro-smoke.tar"

say "what is pinned can still be had"
docker/check.sh index
docker/check.sh lint

say "smoke test passed"
