#!/usr/bin/env bash
# Keeps a run going until it is done: re-creates a slice that was taken away, relaunches a run that was interrupted.
#
# Usage: tpu_scripts/watch.sh [--delete-when-done] [--dry-run] [--help] [-- FLAGS OF hsd_jax.train]
# Every HSD_POLL_SECONDS: a SUSPENDED or FAILED slice is deleted and asked for again; on an ACTIVE one a preempted run
# (saved) is relaunched and a failed one too, at most HSD_RETRIES times in a row. With HSD_AUTOSTART=1 new workers
# resume by themselves; without it watch runs setup.sh and launch.sh on them. Give the same flags after -- as to create or
# launch. Exit codes: 0 the run is done, 1 it keeps failing (the slice stays, and costs money), 2 it was refused.

# shellcheck source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

delete_when_done=0
while (($#)); do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --dry-run) dry_run=1 ;;
    --delete-when-done) delete_when_done=1 ;;
    --) shift; break ;;
    *) refuse "unknown argument '$1'; flags of hsd_jax.train go after --; see --help" ;;
  esac
  shift
done
flags=("$@")
if ((${#flags[@]})); then flags=(-- "${flags[@]}"); fi
check_target
if ((dry_run)); then
  read_resource
  say "watch repeats status.sh, and create.sh, setup.sh and launch.sh where they are needed"
  exit 0
fi

failures=0
# Counts what went wrong in a row and gives up after HSD_RETRIES.
count_failure() {
  failures=$((failures + 1))
  ((failures <= HSD_RETRIES)) || fail "$1 $failures times in a row; logs.sh --worker all shows why; the slice is not deleted"
  say "$1 (time $failures of $HSD_RETRIES)"
}
create() {
  local extra=()
  if [[ $HSD_AUTOSTART == 1 ]]; then extra=("${flags[@]}"); fi
  "$scripts/create.sh" --keep-startup "${extra[@]}" || count_failure "create.sh failed"
}
launch() { "$scripts/launch.sh" "${flags[@]}" || count_failure "launch.sh failed"; }

finish() {
  say "the run is done"
  if ((delete_when_done)); then exec "$scripts/delete.sh" --yes; fi
  say "the slice is still there and costs money; delete.sh ends that"
  exit 0
}

while true; do
  shown=$("$scripts/status.sh") || shown='run: unknown'
  verdict=${shown##*run: }
  case $verdict in
    done) finish ;;
    refused) say "$shown"; say "the run refused its input: logs.sh shows the line; fix it, then setup.sh and launch.sh"; exit "$EXIT_REFUSED" ;;
    ABSENT) fail "the queued resource $HSD_NAME is gone; run create.sh" ;;
    SUSPENDED | FAILED) say "$HSD_NAME is $verdict: asking for it again"; create ;;
    preempted) say "the run was preempted and saved; resuming it"; launch ;;
    failed) count_failure "the run failed"; launch ;;
    absent)
      if [[ $HSD_AUTOSTART == 1 ]]; then say "the workers are setting themselves up"; else
        if "$scripts/setup.sh"; then launch; else count_failure "setup.sh failed"; fi
      fi
      ;;
    unreachable | unknown) count_failure "the state could not be read" ;;
    running) failures=0; say "running" ;;
    *) say "$HSD_NAME is $verdict; waiting" ;;
  esac
  sleep "$HSD_POLL_SECONDS"
done
