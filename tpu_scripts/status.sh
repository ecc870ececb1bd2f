#!/usr/bin/env bash
# Shows the state of the slice and of the run on every worker.
#
# Usage: tpu_scripts/status.sh [--dry-run] [--help]
# The last line is one word for the whole run: running, partly (some workers run, some have ended), done, failed,
# refused, preempted (saved; launch resumes it), absent (never launched), broken (a worker's setup failed), unreachable,
# or the state of a slice that is not ACTIVE (PREEMPTED where one of its nodes was taken away). Exit codes: 0 shown, 1 failed, 2 refused.

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
read_resource
if ((dry_run)); then on_slices all "$(status_command)"; exit 0; fi
look_at_nodes
printf 'queued resource %s: %s\n' "$HSD_NAME" "$state${made_of:+ $made_of}${reason:+ ($reason)}"
if [[ $state != ACTIVE ]]; then
  printf 'run: %s\n' "$state"
  exit 0
fi
output=$(mktemp)
trap 'rm -f "$output"' EXIT
if on_slices all "$(status_command)" >"$output"; then verdict=$(summarize <"$output"); else verdict=unreachable; fi
sort -V "$output"
printf 'run: %s\n' "$verdict"
