#!/usr/bin/env bash
# Copies metrics, configuration, rollouts and the report of the run to this machine.
#
# Usage: tpu_scripts/pull.sh [--to DIR] [--checkpoints] [--dry-run] [--help]
#   --to            where to, default runs/HSD_NAME
#   --checkpoints   also the checkpoints (12 bytes per parameter each: 98 GB for 8B)
# Works while the run is going on and after the slice is deleted: it reads the bucket only. Reading out of the cloud
# costs money per GB. Afterwards: python -m hsd_jax.report --workdir DIR. Exit codes: 0 copied, 1 failed, 2 refused.

# shellcheck source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

to='' checkpoints=0
while (($#)); do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --dry-run) dry_run=1 ;;
    --checkpoints) checkpoints=1 ;;
    --to)
      (($# > 1)) || refuse "--to needs a directory"
      to=$2
      shift
      ;;
    *) refuse "unknown argument '$1'; see --help" ;;
  esac
  shift
done

check_target
check_bucket
to=${to:-runs/$HSD_NAME}
run mkdir -p "$to"
command=(gcloud storage rsync --recursive "$HSD_WORKDIR" "$to" --project="$HSD_PROJECT")
if ((!checkpoints)); then command+=(--exclude='^checkpoints/.*'); fi
run "${command[@]}" || fail "nothing could be copied from $HSD_WORKDIR: has the run written its first step?"
if ((!dry_run)); then say "copied to $to; python -m hsd_jax.report --workdir $to"; fi
