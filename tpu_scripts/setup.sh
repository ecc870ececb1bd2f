#!/usr/bin/env bash
# Puts the code and the pinned environment on every worker of every slice; repeat it after a new commit.
#
# Usage: tpu_scripts/setup.sh [--dry-run] [--help]
# Uploads `git archive` of the commit to the bucket; each worker fetches it, installs the system packages, Python 3.11
# (by uv) and tpu_scripts/requirements.txt in the versions of requirements.lock, and prints a digest. All workers must
# print the same one.
# Needs ssh to every worker at once: add your key to the agent first (ssh-add ~/.ssh/google_compute_engine).
# Exit codes: 0 all workers are the same, 1 failed (the workers are named), 2 refused.

# shellcheck source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=remote.sh
source "$scripts/remote.sh"

while (($#)); do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --dry-run) dry_run=1 ;;
    *) refuse "unknown argument '$1'; see --help" ;;
  esac
  shift
done

check_target
check_run
require_active
upload_code
if ((dry_run)); then on_slices all "$(setup_command)"; exit 0; fi
output=$(mktemp)
trap 'rm -f "$output"' EXIT
on_slices all "$(setup_command)" | tee "$output"
digests=$(awk '$1 == "worker" && $3 == "ready" { print $4 }' "$output" | sort | uniq -c)
if [[ $(wc -l <<<"$digests") -ne 1 || -z $digests ]]; then
  fail "the workers differ (count, digest of code and packages):"$'\n'"$digests"$'\n'"run setup.sh again"
fi
say "all workers are set up alike:$digests"
