#!/usr/bin/env bash
# Keeps a run going until it is done: re-creates a slice that was taken away, relaunches a run that was interrupted.
#
# Usage: tpu_scripts/watch.sh [--delete-when-done] [--dry-run] [--help] [-- FLAGS OF hsd_jax.train]
# Every HSD_POLL_SECONDS: a SUSPENDED, FAILED or PREEMPTED slice is deleted and asked for again; on an ACTIVE one a
# preempted run (saved) is relaunched and a failed one too, at most HSD_RETRIES times in a row (a run that was seen for
# HSD_STEADY_LOOKS looks counts as one that works); so is a worker for which the others still wait after
# HSD_PARTLY_LOOKS looks; a worker whose setup broke is set up again. What cannot be read or done now (an expired token,
# a sleeping laptop, no capacity) is tried for ever, with pauses that grow to an hour; so is what does not come back, and
# the deletion in the end. With HSD_AUTOSTART=1 new workers resume by themselves (and are set up from here if they
# have not after HSD_STARTUP_LOOKS looks); without it watch runs setup.sh and launch.sh on them. Give the same flags after
# -- as to create or launch. Exit codes: 0 the run is done, 1 it keeps failing (the slice stays, and costs money), 2 refused.

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

trap 'exit 130' INT # within lets it come only after the command
failures=0 steady=0 waits=0 absent=0 partly=0 creating=0
# Counts failures of the run in a row and gives up after HSD_RETRIES.
count_failure() {
  failures=$((failures + 1))
  ((failures <= HSD_RETRIES)) || fail "$1 $failures times in a row; logs.sh --worker all shows why; the slice is not deleted"
  say "$1 (time $failures of $HSD_RETRIES)"
}
# Lets the next look come later and later, at most after an hour, while something cannot be read or done.
later() { waits=$((waits + 1)); say "$1; trying again in $(pause) s"; }
pause() { awk -v poll="$HSD_POLL_SECONDS" -v waits="$waits" 'BEGIN { s = poll * 2 ^ (waits < 12 ? waits : 12); print (s > 3600) ? 3600 : s }'; }
# Ends a command that never comes back, as ssh to a machine that is gone, or from a laptop that slept.
within() { timeout --kill-after=30 "$@" </dev/null; }
# A script that was refused its input will be refused again; any other failure may pass.
attempt() {
  local code=0
  within "$HSD_ACT_SECONDS" "$@" || code=$?
  if ((code == EXIT_REFUSED)); then exit "$EXIT_REFUSED"; fi
  if ((code)); then later "${1##*/} failed"; else waits=0; fi
  return "$code"
}
create() {
  local extra=()
  if [[ $HSD_AUTOSTART == 1 ]]; then extra=("${flags[@]}"); fi
  creating=1
  if attempt "$scripts/create.sh" --keep-startup "${extra[@]}"; then creating=0 absent=0; fi
}
launch() { attempt "$scripts/launch.sh" "${flags[@]}" || true; }
set_up() { if attempt "$scripts/setup.sh"; then absent=0; launch; fi; }

finish() {
  say "the run is done"
  if ((delete_when_done)); then
    until attempt "$scripts/delete.sh" --yes; do sleep "$(pause)"; done
    exit 0
  fi
  say "the slice is still there and costs money; delete.sh ends that"
  exit 0
}

while true; do
  shown=$(within "$HSD_LOOK_SECONDS" "$scripts/status.sh") || shown='run: unknown'
  verdict=${shown##*run: }
  case $verdict in running) steady=$((steady + 1)) waits=0 ;; unreachable | unknown) ;; *) steady=0 ;; esac
  if ((steady >= HSD_STEADY_LOOKS)); then failures=0; fi
  case $verdict in partly) partly=$((partly + 1)) ;; unreachable | unknown) ;; *) partly=0 ;; esac
  case $verdict in
    done) finish ;;
    refused) say "$shown"; say "the run refused its input: logs.sh shows the line; fix it, then setup.sh and launch.sh"; exit "$EXIT_REFUSED" ;;
    ABSENT)
      if ((!creating)); then fail "the queued resource $HSD_NAME is gone; run create.sh"; fi
      say "asking for $HSD_NAME again"; create
      ;;
    SUSPENDED | FAILED | PREEMPTED) say "$HSD_NAME is $verdict: asking for it again"; create ;;
    preempted) say "the run was preempted and saved; resuming it"; launch ;;
    failed) count_failure "the run failed"; launch ;;
    partly)
      waits=0
      if ((partly < HSD_PARTLY_LOOKS)); then say "a worker has ended; the others should notice"
      else partly=0; count_failure "the others wait for a worker that has ended"; launch; fi
      ;;
    broken) say "$shown"; say "the setup of a worker broke; setting up again"; set_up ;;
    absent)
      absent=$((absent + 1))
      if [[ $HSD_AUTOSTART == 1 ]] && ((absent < HSD_STARTUP_LOOKS)); then waits=0; say "the workers are setting themselves up"; else set_up; fi
      ;;
    unreachable | unknown) later "the state could not be read" ;;
    running) absent=0; say "running" ;;
    *) waits=0; say "$HSD_NAME is $verdict; waiting" ;;
  esac
  sleep "$(pause)"
done
