#!/usr/bin/env bash
# Deletes the slice (running training included) and makes sure that it is gone. The bucket stays.
#
# Usage: tpu_scripts/delete.sh [--yes] [--dry-run] [--help]
#   --yes   do not ask
# Refuses a queued resource that create.sh did not make (the label hsd_jax tells). Safe to repeat.
# Exit codes: 0 gone, 1 failed (it may still cost money), 2 refused.

# shellcheck source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

yes=0
while (($#)); do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --dry-run) dry_run=1 ;;
    --yes | -y) yes=1 ;;
    *) refuse "unknown argument '$1'; see --help" ;;
  esac
  shift
done

check_target
remove=(gcloud compute tpus queued-resources delete "$HSD_NAME" "${where[@]}" --force --quiet)
read_resource
if ((dry_run)); then show "${remove[@]}"; exit 0; fi
if [[ $state == ABSENT ]]; then
  say "there is no queued resource $HSD_NAME in $HSD_ZONE; nothing to delete"
  exit 0
fi
require_ours
if ((!yes)); then
  printf 'Delete %s (%s, %s) and stop what runs on it? [y/N] ' "$HSD_NAME" "$made_of" "$state" >&2
  read -r answer || answer=''
  [[ $answer == [yY]* ]] || refuse "nothing was deleted"
fi
"${remove[@]}" || say "the delete command failed; looking at what is left"
for ((look = 0; look < 10; look++)); do
  read_resource
  if [[ $state == ABSENT ]]; then
    say "$HSD_NAME is gone. The bucket is not touched: ${HSD_BUCKET:-none set} keeps checkpoints, which cost storage"
    exit 0
  fi
  sleep "$HSD_POLL_SECONDS"
done
fail "$HSD_NAME is still there ($state) and may cost money: run delete.sh again, or look at the console"
