#!/usr/bin/env bash
# Starts hsd_jax.train on all workers of all slices, in the background; it survives logout.
#
# Usage: tpu_scripts/launch.sh [--restart | --stop] [--dry-run] [--help] [-- FLAGS OF hsd_jax.train]
#   --restart   stop a running training first (it saves and ends with code 3)
#   --stop      only stop it
# Runs `python -m hsd_jax.train --config HSD_CONFIG --workdir HSD_WORKDIR --resume auto FLAGS`; a worker that is already
# running is left alone. Safe to repeat. Exit codes: 0 running on every worker, 1 failed (the workers are named), 2 refused.

# shellcheck source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=remote.sh
source "$scripts/remote.sh"

stop=0 start=1
while (($#)); do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --dry-run) dry_run=1 ;;
    --restart) stop=1 ;;
    --stop) stop=1 start=0 ;;
    --) shift; break ;;
    *) refuse "unknown argument '$1'; flags of hsd_jax.train go after --; see --help" ;;
  esac
  shift
done

check_target
check_run
require_active
if ((stop)); then on_slices all "$(worker_command stop)"; fi
if ((start)); then
  on_slices all "$(worker_command launch --config "$HSD_CONFIG" --workdir "$HSD_WORKDIR" --resume auto "$@")"
  if ((!dry_run)); then say "launched $HSD_CONFIG on $HSD_NAME; workdir $HSD_WORKDIR"; fi
fi
