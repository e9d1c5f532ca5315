#!/bin/sh
# Installs a lock file, or then the kit itself, into /opt/venv while an image is built.
set -eu
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0  # compiled files then depend on their sources alone
venv=/opt/venv
touch -d '1 second ago' /tmp/begun
pip="python3 -m pip --python $venv/bin/python install --no-deps --no-build-isolation"
case $1 in
*.lock)
    if [ "$VARIANT" = cpu ]; then
        export PIP_EXTRA_INDEX_URL="$TORCH_INDEX"
    fi
    python3 -m venv --without-pip $venv
    # What is not built yet needs setuptools to be; it comes from the lock too.
    awk '/^setuptools==/ { on = 1 } on { print } on && !/\\$/ { exit }' "$1" >/tmp/first.lock
    $pip --require-hashes -r /tmp/first.lock
    $pip --require-hashes -r "$1"
    rm /tmp/first.lock
    ;;
*)
    $pip --editable "$1"
    rm -rf "$1/build"
    $venv/bin/python -m compileall -q --invalidation-mode unchecked-hash "$1/repro"
    ;;
esac
find /opt -newer /tmp/begun -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
