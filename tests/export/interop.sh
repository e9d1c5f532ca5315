#!/usr/bin/env bash
# Exports and curves, read by the packages that they are for: after `./run_all.sh test`, needs 390 MB more.
# Some of these want older packages than the kit's, so they lie in an environment on top of the first.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=.venv/interop/bin/python
.venv/bin/python -m venv .venv/interop
.venv/bin/python -c 'import sysconfig as s; print("import site; site.addsitedir(%r)" % s.get_path("purelib"))' \
    >"$($python -c 'import sysconfig as s; print(s.get_path("purelib"))')/kit.pth"
$python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/export/packages.txt
$python -c 'import inspect_ai, lm_eval, tensorboardX'
OMP_NUM_THREADS=1 exec $python -m pytest -m interop tests/export tests/finetune/test_finetune_curves.py
