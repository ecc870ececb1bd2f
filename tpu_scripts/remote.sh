# shellcheck shell=bash
# shellcheck disable=SC2154 # common.sh, sourced before, sets the rest
# Shared by the scripts that talk to workers: ssh with retries, and what the workers say about the run.

# on_node NODE WORKER COMMAND: runs a command on one worker or on `all`; nothing is retried.
on_node() {
  run gcloud compute tpus tpu-vm ssh "$1" "${where[@]}" --worker="$2" "${ssh_flags[@]}" --command="$3"
}

# The workers of a node that do not answer, by number.
silent_workers() {
  local count worker silent=()
  count=$(gcloud compute tpus tpu-vm describe "$1" "${where[@]}" --format='value(networkEndpoints.len())')
  for ((worker = 0; worker < ${count:-0}; worker++)); do
    on_node "$1" "$worker" true >/dev/null 2>&1 </dev/null || silent+=("$worker")
  done
  printf '%s' "${silent[*]:-none}"
}

# on_slices WORKER COMMAND: the command on every slice, each retried; the nodes that failed are named.
on_slices() {
  local node attempt failed=()
  while read -r node; do
    for ((attempt = 1; ; attempt++)); do
      if on_node "$node" "$1" "$2" </dev/null; then break; fi
      if ((attempt >= HSD_SSH_ATTEMPTS)); then failed+=("$node (no answer from worker: $(silent_workers "$node"))"); break; fi
      say "$node: attempt $attempt of $HSD_SSH_ATTEMPTS failed; the next in $HSD_SSH_PAUSE_SECONDS s"
      sleep "$HSD_SSH_PAUSE_SECONDS"
    done
  done < <(node_names)
  if ((${#failed[@]})); then say "error: the command did not succeed on: ${failed[*]}"; return "$EXIT_FAILED"; fi
}

# The command that runs one phase of worker.sh on a worker, quoted for ssh.
worker_command() {
  quote sudo HSD_HOME="$HSD_HOME" HSD_USER="$HSD_USER" HSD_CACHE="$HSD_CACHE" HSD_FILES="$HSD_FILES" \
    bash "$HSD_HOME/code/tpu_scripts/worker.sh" "$@"
}

# The command that asks a worker about the run; a worker that has no code yet says so too.
status_command() {
  # shellcheck disable=SC2016 # the host name is the worker's
  printf 'if [ -e %s ]; then %s; else echo "worker $(hostname) absent | not set up"; fi' \
    "$(quote "$HSD_HOME/code")" "$(worker_command status)"
}

# The command that fetches the code of the commit and sets the worker up.
setup_command() {
  local code=$HSD_HOME/code-$HSD_COMMIT
  # A directory for each commit: a training that still runs keeps the files it started with.
  printf 'set -e; %s; %s | %s; %s; %s' "$(quote sudo mkdir -p "$code")" "$(quote gcloud storage cat "$archive")" \
    "$(quote sudo tar xz -C "$code")" "$(quote sudo ln -sfn "$code" "$HSD_HOME/code")" "$(worker_command setup "$HSD_COMMIT")"
}

# Uploads the code of the commit once; what is not committed is not part of it, and that is said.
upload_code() {
  if ((dry_run)); then
    printf '+ %s | %s\n' "$(quote git archive --format=tar.gz "$HSD_COMMIT")" "$(quote gcloud storage cp - "$archive")"
    return
  fi
  if [[ -n $(git -C "$repository" status --porcelain) ]]; then
    say "note: there are uncommitted changes; workers run commit $HSD_COMMIT without them"
  fi
  if gcloud storage ls "$archive" >/dev/null 2>&1; then return; fi
  git -C "$repository" archive --format=tar.gz "$HSD_COMMIT" | gcloud storage cp - "$archive"
}

# Reads `worker.sh status` lines and prints one word for the whole run. A worker whose setup broke, or that refused its
# input, comes first: the others wait for it. They may also wait for one that ended before it could say so (partly).
# After that a worker that is not set up, or a saved preemption, explains the others' ends. The run is done when every
# worker says so.
summarize() {
  awk '$1 == "worker" { sub(/[^a-z]+$/, "", $3); count[$3]++; total++ }
    END {
      if (count["running"] && (count["failed"] || count["preempted"])) count["partly"]++
      n = split("broken refused partly running absent preempted failed", order, " ")
      for (i = 1; i <= n; i++) if (count[order[i]]) { print order[i]; exit }
      print (total && count["done"] == total) ? "done" : "unreachable"
    }'
}
