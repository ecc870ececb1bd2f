# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used by the scripts that source this
# Shared by the scripts: reading settings and flags, printing or running a command, the state of the queued resource.

set -euo pipefail
scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname -- "$scripts")
# shellcheck source=settings.sh
source "$scripts/settings.sh"

EXIT_FAILED=1 EXIT_REFUSED=2
LABEL=hsd_jax # the mark on everything `create` makes; `delete` touches nothing without it
dry_run=0
say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit "$EXIT_FAILED"; }
refuse() { say "refused: $*"; exit "$EXIT_REFUSED"; }

# Prints a command as it could be pasted into a shell.
quote() {
  local word line=''
  for word; do
    if [[ ! $word =~ ^[-A-Za-z0-9_./:=,@%+]+$ ]]; then word="'${word//\'/\'\\\'\'}'"; fi
    line+="$word "
  done
  printf '%s' "${line% }"
}
show() { printf '+ %s\n' "$(quote "$@")"; }
# Runs a command, or only prints it under --dry-run.
run() { if ((dry_run)); then show "$@"; else "$@"; fi; }

# Shows the comment at the top of the calling script; it is the script's help.
usage() { sed -n '2,/^$/{s/^# \{0,1\}//;p}' "$0"; }

check_name() {
  [[ $HSD_NAME =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
    refuse "HSD_NAME must be lower-case letters, digits and hyphens, start with a letter, at most 40; got '$HSD_NAME'"
}

check_target() {
  [[ -n $HSD_PROJECT ]] || refuse "HSD_PROJECT is empty: the Google Cloud project that pays; set it in tpu_scripts/settings.sh"
  [[ -n $HSD_ZONE ]] || refuse "HSD_ZONE is empty: the zone of the slice, such as us-east5-a; set it in tpu_scripts/settings.sh"
  check_name
  [[ $HSD_SLICES =~ ^[1-9][0-9]*$ ]] || refuse "HSD_SLICES must be a positive whole number; got '$HSD_SLICES'"
  where=(--project="$HSD_PROJECT" --zone="$HSD_ZONE")
  ssh_flags=(--quiet)
  if [[ $HSD_INTERNAL_IPS == 1 ]]; then ssh_flags+=(--internal-ip); fi
  if ((!dry_run)) && ! command -v gcloud >/dev/null; then
    fail "gcloud is not installed; install the Google Cloud CLI, or use --dry-run to see the commands"
  fi
}

check_bucket() {
  [[ $HSD_BUCKET =~ ^gs://[^/]+ ]] || refuse "HSD_BUCKET must be a gs:// path that workers can write; got '$HSD_BUCKET'"
  [[ $HSD_WORKDIR =~ ^gs://[^/]+/. ]] ||
    refuse "HSD_WORKDIR must be a gs:// path: all workers write one checkpoint, and a worker's disk dies with it; got '$HSD_WORKDIR'"
}

check_run() {
  check_bucket
  if [[ -z $HSD_COMMIT ]]; then HSD_COMMIT=$(git -C "$repository" rev-parse --short=12 HEAD); fi
  archive=$HSD_BUCKET/code/$HSD_COMMIT.tar.gz
  local found
  found=$(git -C "$repository" cat-file -t "$HSD_COMMIT:$HSD_CONFIG" 2>/dev/null || true)
  if ((!dry_run)) && [[ $found != blob ]]; then
    refuse "HSD_CONFIG $HSD_CONFIG is not in commit $HSD_COMMIT: commit it, or name another config"
  fi
}

# Sets `accelerator` and `runtime`; users may write v5e-64 although the cloud says v5litepod-64.
choose_accelerator() {
  local usual
  case $HSD_ACCELERATOR in
    v5e-* | v5litepod-*) accelerator=v5litepod-${HSD_ACCELERATOR#*-} usual=v2-alpha-tpuv5-lite ;;
    v5p-*) accelerator=$HSD_ACCELERATOR usual=v2-alpha-tpuv5 ;;
    v6e-*) accelerator=$HSD_ACCELERATOR usual=v2-alpha-tpuv6e ;;
    *) refuse "HSD_ACCELERATOR must be v5e-N, v5p-N or v6e-N; got '$HSD_ACCELERATOR'" ;;
  esac
  [[ $accelerator =~ -[1-9][0-9]*$ ]] || refuse "HSD_ACCELERATOR needs a size, such as v5p-128; got '$HSD_ACCELERATOR'"
  runtime=${HSD_RUNTIME:-$usual}
}

# The names of the slices' nodes, one per line, as the API forms them.
node_names() {
  if ((HSD_SLICES == 1)); then printf '%s\n' "$HSD_NAME"; else
    for ((slice = 0; slice < HSD_SLICES; slice++)); do printf '%s-%d\n' "$HSD_NAME" "$slice"; done
  fi
}

# Reads the queued resource into `state` (ABSENT where there is none), `owner` (our label), `made_of` and `reason`.
read_resource() {
  local output errors
  state=ABSENT owner='' made_of='' reason=''
  local node='tpu.nodeSpec[0].node'
  local fields=state.state,$node.labels.$LABEL,$node.acceleratorType,state.failedData.error.message
  local command=(gcloud compute tpus queued-resources describe "$HSD_NAME" "${where[@]}"
    --format='value[separator=","]'"($fields)")
  if ((dry_run)); then show "${command[@]}"; return; fi
  errors=$(mktemp)
  if output=$("${command[@]}" 2>"$errors"); then
    IFS=, read -r state owner made_of reason <<<"$output"
    made_of=${made_of##*/}
  elif ! grep -qE "NOT_FOUND.*(queuedResources|$HSD_NAME)" "$errors"; then # other things are "not found" too: gcloud, a token
    output=$(<"$errors"); rm -f "$errors"
    fail "cannot read the queued resource $HSD_NAME: $output"
  fi
  rm -f "$errors"
}

# Sets `state` to PREEMPTED where a node of an ACTIVE resource was taken away, as happens to spot nodes, and says which.
look_at_nodes() {
  local node answer
  if [[ $state != ACTIVE ]]; then return; fi
  while read -r node; do
    answer=$(gcloud compute tpus tpu-vm describe "$node" "${where[@]}" --format='value(state)' </dev/null) || answer=UNKNOWN
    if [[ $answer =~ ^(PREEMPTED|TERMINATED|STOPPED|DELETING)$ ]]; then state=PREEMPTED reason="node $node is $answer"; fi
  done < <(node_names)
}

require_ours() {
  [[ $owner == "$HSD_NAME" ]] ||
    refuse "$HSD_NAME exists but does not carry the label $LABEL=$HSD_NAME, so these scripts did not create it; use another HSD_NAME"
}

require_active() {
  read_resource
  if ((dry_run)); then return; fi
  if [[ $state == ABSENT ]]; then fail "there is no queued resource $HSD_NAME; run tpu_scripts/create.sh"; fi
  require_ours
  [[ $state == ACTIVE ]] || fail "$HSD_NAME is $state, not ACTIVE; tpu_scripts/watch.sh waits and re-creates it where needed"
}
