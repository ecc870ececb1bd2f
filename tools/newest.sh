#!/usr/bin/env bash
# Installs the newest versions of everything, without the lock, and says what they break: the main job for a few steps,
# then a quick part of the tests.
#
# Usage: tools/newest.sh [PYTHON]      (`make newest`)
# Writes .venv-newest, with what every step printed in .venv-newest/logs. Exit codes: 0 all works, 1 something breaks.
set -euo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")/.."
venv=.venv-newest logs=.venv-newest/logs python=.venv-newest/bin/python broken=()
quick=(tests/algorithm/test_{peers,contexts,divergence,losses}.py tests/sampler/test_token_sampling.py
  tests/models/test_qwen3.py tests/update/test_step.py tests/runtime/test_{checkpoint,workdir,paths}.py)

# attempt WHAT COMMAND...: runs a step with its output in a log; what fails is remembered with its last line.
attempt() {
  local what=$1 log=$logs/${1// /-}.txt
  shift
  printf 'newest: %s ...\n' "$what"
  if "$@" >"$log" 2>&1; then return; fi
  broken+=("$what: $(grep -v '^[[:space:]]*$' "$log" | tail -n 1) (all of it: $log)")
  grep -E '^(FAILED|ERROR) ' "$log" || true
  return 1
}

# The packages whose versions are not the locked ones, as name==version.
newer() {
  comm -23 <("$python" -m pip freeze | tr 'A-Z_' 'a-z-' | sort) <(sed 's/ ;.*//' requirements.lock | tr 'A-Z_' 'a-z-' | sort)
}

rm -rf "$venv"
"${1:-python3}" -m venv "$venv"
mkdir "$logs"
if attempt 'installation' "$python" -m pip install --quiet --upgrade -r requirements-dev.txt; then
  attempt 'main job' "$python" -m hsd_jax.train --config configs/tiny.py --workdir "$venv/run" --steps 3 \
    --data.problems-per-step 4 --evaluation.every 2 --evaluation.problems 8 --checkpoints.every 2 || true
  attempt 'quick tests' "$python" -m pytest -n 2 "${quick[@]}" || true
  printf 'newest: not the locked versions: %s\n' "$(newer | paste -sd ' ')"
fi
if ((${#broken[@]} == 0)); then printf 'newest: nothing is broken\n'; exit; fi
printf 'newest: BROKEN: %s\n' "${broken[@]}"
exit 1
