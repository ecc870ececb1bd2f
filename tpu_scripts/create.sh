#!/usr/bin/env bash
# Asks for a TPU slice (or several) as a queued resource.
#
# Usage: tpu_scripts/create.sh [--wait] [--dry-run] [--help] [-- FLAGS OF hsd_jax.train]
#   --wait      return when every node is ready, instead of when the request is accepted
#   --dry-run   print the exact commands and do nothing
# Settings: tpu_scripts/settings.sh. With HSD_AUTOSTART=1 the workers set themselves up and start (or resume) the run,
# with the flags after `--`. Their service account needs roles/storage.objectAdmin and roles/storage.legacyBucketReader on
# the bucket. Safe to repeat: an existing resource of ours is kept, a dead one (FAILED, SUSPENDED,
# or with a PREEMPTED node) is deleted and asked for again, anything else is refused. Exit codes: 0 asked for (or there), 1 failed, 2 refused.

# shellcheck source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=remote.sh
source "$scripts/remote.sh"

wait_ready=0 keep_startup=0
while (($#)); do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --dry-run) dry_run=1 ;;
    --wait) wait_ready=1 ;;
    --keep-startup) keep_startup=1 ;; # by watch: the very startup script of the first creation
    --) shift; break ;;
    *) refuse "unknown argument '$1'; see --help" ;;
  esac
  shift
done

# The startup script: the same setup and launch as over ssh, with every value written into it.
render_startup() {
  printf '#!/bin/bash\n# Made by tpu_scripts/create.sh; runs at every boot.\n'
  # shellcheck disable=SC2016 # $PATH is the worker's
  printf 'export HOME=/root PATH="$PATH":/usr/local/bin:/snap/bin\n%s\n' "$(setup_command)"
  worker_command launch --config "$HSD_CONFIG" --workdir "$HSD_WORKDIR" --resume auto "$@"
  printf '\n'
}

create_command() {
  choose_accelerator
  command=(gcloud compute tpus queued-resources create "$HSD_NAME" "${where[@]}"
    --accelerator-type="$accelerator" --runtime-version="$runtime" --labels="$LABEL=$HSD_NAME")
  if ((HSD_SLICES == 1)); then command+=(--node-id="$HSD_NAME"); else
    command+=(--node-count="$HSD_SLICES" --node-prefix="$HSD_NAME")
  fi
  case $HSD_PROVISIONING in
    spot) command+=(--spot) ;;
    reserved) command+=(--reserved) ;;
    on-demand) ;;
    *) refuse "HSD_PROVISIONING must be spot, reserved or on-demand; got '$HSD_PROVISIONING'" ;;
  esac
  if [[ -n $HSD_VALID_UNTIL ]]; then command+=(--valid-until-duration="$HSD_VALID_UNTIL"); fi
  if [[ -n $HSD_SERVICE_ACCOUNT ]]; then
    command+=(--service-account="$HSD_SERVICE_ACCOUNT" --scopes=https://www.googleapis.com/auth/cloud-platform)
  fi
  if [[ -n $HSD_NETWORK ]]; then command+=(--network="$HSD_NETWORK"); fi
  if [[ -n $HSD_SUBNETWORK ]]; then command+=(--subnetwork="$HSD_SUBNETWORK"); fi
  if [[ $HSD_INTERNAL_IPS == 1 ]]; then command+=(--internal-ips); fi
  if [[ $HSD_AUTOSTART == 1 ]]; then command+=(--metadata-from-file=startup-script="$startup"); fi
}

# After a refused request: nothing may be left behind, and the commonest reasons come with their cure.
explain_failure() {
  local said=$1
  read_resource
  if [[ $state == FAILED && $owner == "$HSD_NAME" ]]; then
    say "$HSD_NAME was half created; deleting what is left of it"
    gcloud compute tpus queued-resources delete "$HSD_NAME" "${where[@]}" --force --quiet
  fi
  case ${said,,} in
    *quota*) fail "no quota for $accelerator ($HSD_PROVISIONING) in $HSD_ZONE: ask for more under IAM & Admin > Quotas" \
      "(TPU API), or try another zone or HSD_PROVISIONING. The service said: $said" ;;
    *permission*) fail "no permission in project $HSD_PROJECT: the account needs roles/tpu.admin. The service said: $said" ;;
    *) fail "the request failed: $said" ;;
  esac
}

wait_until_ready() {
  local node answer
  while [[ $state != ACTIVE ]]; do
    case $state in
      FAILED | SUSPENDING | SUSPENDED | DELETING | ABSENT) fail "$HSD_NAME became $state while waiting; run create.sh again" ;;
    esac
    say "$HSD_NAME is $state; next look in $HSD_POLL_SECONDS s"
    sleep "$HSD_POLL_SECONDS"
    read_resource
  done
  while read -r node; do
    answer=$(gcloud compute tpus tpu-vm describe "$node" "${where[@]}" --format='value(state)' </dev/null) || answer=MISSING
    [[ $answer == READY ]] || fail "$HSD_NAME is ACTIVE but its node $node is $answer: run delete.sh and create.sh"
  done < <(node_names)
}

check_target
startup=$repository/runs/tpu/$HSD_NAME/startup.sh
if ((dry_run)); then startup=runs/tpu/$HSD_NAME/startup.sh; fi
create_command
if [[ $HSD_AUTOSTART == 1 ]]; then check_run; elif (($#)); then refuse "flags after -- need HSD_AUTOSTART=1; without it give them to launch.sh"; fi

read_resource
if ((!dry_run)); then look_at_nodes; fi
case $state in
  ABSENT) ;;
  FAILED | SUSPENDED | PREEMPTED)
    require_ours
    say "$HSD_NAME is $state: deleting it and asking again"
    gcloud compute tpus queued-resources delete "$HSD_NAME" "${where[@]}" --force --quiet
    ;;
  SUSPENDING | DELETING) require_ours; fail "$HSD_NAME is $state; run create.sh again when that has ended" ;;
  *)
    require_ours
    [[ $made_of == "$accelerator" ]] || refuse "$HSD_NAME exists as $made_of, not $accelerator; delete it first or use another HSD_NAME"
    say "$HSD_NAME exists already ($state); nothing to do"
    if ((wait_ready)); then wait_until_ready; say "$HSD_NAME is ready"; fi
    exit 0
    ;;
esac

if [[ $HSD_AUTOSTART == 1 ]]; then
  if ((keep_startup)) && [[ -f $startup ]]; then say "using the startup script of the first creation: $startup"; else
    upload_code
    if ((dry_run)); then printf '# %s:\n' "$startup"; render_startup "$@" | sed 's/^/#   /'; else
      mkdir -p "$(dirname -- "$startup")"
      render_startup "$@" >"$startup"
    fi
  fi
fi
if ((dry_run)); then show "${command[@]}"; exit 0; fi
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
"${command[@]}" 2>"$errors" || explain_failure "$(<"$errors")"
say "asked for $HSD_SLICES x $accelerator ($HSD_PROVISIONING) as $HSD_NAME; status.sh shows its state, and it costs money once ACTIVE"
if ((wait_ready)); then read_resource; wait_until_ready; say "$HSD_NAME is ready"; fi
