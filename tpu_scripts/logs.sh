#!/usr/bin/env bash
# Prints the training log of one worker, or of all workers merged by time.
#
# Usage: tpu_scripts/logs.sh [--worker N | --worker all] [--slice K] [--lines N] [--follow] [--dry-run] [--help]
#   --worker    default 0; all: lines of all workers (and slices, unless --slice), merged by their time stamps
#   --lines     how many lines of each worker, default 100
#   --follow    keep printing as lines arrive (one slice at a time, in order of arrival)
# Every line begins with its time (UTC) and its worker. Exit codes: 0 printed, 1 failed, 2 refused.

# shellcheck source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=remote.sh
source "$scripts/remote.sh"

worker=0 slice='' lines=100 follow=0
while (($#)); do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --dry-run) dry_run=1 ;;
    --follow) follow=1 ;;
    --worker | --slice | --lines)
      (($# > 1)) || refuse "$1 needs a value; see --help"
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    *) refuse "unknown argument '$1'; see --help" ;;
  esac
  shift
done
[[ $worker =~ ^([0-9]+|all)$ ]] || refuse "--worker must be a number or all; got '$worker'"
[[ $lines =~ ^[1-9][0-9]*$ ]] || refuse "--lines must be a positive whole number; got '$lines'"
[[ $slice =~ ^[0-9]*$ ]] || refuse "--slice must be a number; got '$slice'"

check_target
if [[ -z $slice && $worker != all ]] || ((follow)); then slice=${slice:-0}; fi
if [[ -n $slice ]] && ((slice >= HSD_SLICES)); then refuse "--slice must be below HSD_SLICES=$HSD_SLICES; got $slice"; fi
require_active
if [[ -n $slice ]]; then
  chosen=$(node_names | sed -n "$((slice + 1))p")
  node_names() { printf '%s\n' "$chosen"; }
fi
if ((follow)); then on_node "$chosen" "$worker" "$(worker_command follow "$lines")"; elif ((dry_run)); then
  on_slices "$worker" "$(worker_command log "$lines")"
else
  on_slices "$worker" "$(worker_command log "$lines")" | sort -s -k1,1
fi
