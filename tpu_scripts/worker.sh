#!/usr/bin/env bash
# Runs on a TPU worker, as root, called by the other scripts or by the startup script.
#
# Usage: worker.sh setup COMMIT | launch FLAGS OF hsd_jax.train | stop | status | log LINES | follow LINES
# Under HSD_HOME: code, venv, run/train.log, run/exit_code (0 done, 1 failed, 2 refused, 3 preempted and saved).

set -euo pipefail
: "${HSD_HOME:=/opt/hsd}" "${HSD_USER:=}" "${HSD_CACHE:=}" "${HSD_FILES:=}"
: "${HSD_LOG_BYTES:=67108864}" "${HSD_LOG_SECONDS:=300}" # when a log is rotated, and how often it goes to the bucket
run=$HSD_HOME/run python=$HSD_HOME/venv/bin/python
export UV_PYTHON_INSTALL_DIR=$HSD_HOME/python UV_CACHE_DIR=$HSD_HOME/cache UV_LINK_MODE=copy
host=$(hostname)

# The process id of the training, or of its supervisor that has still to write the exit code; fails where neither lives.
# Numbers are used again after a reboot, so the command line is looked at too.
alive() {
  local file pid
  for file in pid supervisor; do
    pid=$(cat "$run/$file" 2>/dev/null) || continue
    if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qE 'hsd_jax\.train|worker\.sh supervise'; then
      printf '%s' "$pid"
      return
    fi
  done
  return 1
}

# A digest of what decides how the run behaves: the commit, every installed package, names and sizes of the files.
digest() {
  {
    cat "$HSD_HOME/commit"
    uv pip freeze --python "$python"
    if [[ -d $HSD_HOME/files ]]; then find "$HSD_HOME/files" -type f -printf '%P %s\n' | sort; fi
  } | sha256sum | cut -c1-16
}

# Refuses to copy what the disk has no room for; what is there already counts.
check_disk() {
  local needed held free
  needed=$(gcloud storage du --summarize "$HSD_FILES" | awk '{ print $1; exit }')
  held=$(du --summarize --bytes "$HSD_HOME/files" | cut -f1)
  free=$(df --output=avail --block-size=1 "$HSD_HOME/files" | tail -n 1)
  if ((needed - held > free)); then
    printf 'worker %s: %s has %d MB, this disk has room for %d; let the config read it from gs://, or use a larger disk\n' \
      "$host" "$HSD_FILES" $((needed >> 20)) $(((held + free) >> 20)) >&2
    return 1
  fi
}

# Copies weights and datasets to this worker and shows them beside the code, where configs look for them.
copy_files() {
  local entry
  mkdir -p "$HSD_HOME/files"
  check_disk
  gcloud storage rsync --recursive "$HSD_FILES" "$HSD_HOME/files"
  for entry in "$HSD_HOME"/files/*; do ln -sfn "$entry" "$HSD_HOME/code/${entry##*/}"; done
}

setup() {
  local code=$HSD_HOME/code stamp
  printf '%s' "$$" >"$HSD_HOME/setting_up" # it stays behind where this ends early
  if [[ -n $HSD_USER ]] && ! id "$HSD_USER" >/dev/null 2>&1; then useradd --system --create-home "$HSD_USER"; fi
  stamp=$(cat "$code"{,/tpu_scripts}/requirements.txt "$code/requirements.lock" "$code/tools/install_system_packages.sh" | sha256sum)
  if [[ $(cat "$HSD_HOME/stamp" 2>/dev/null) != "$stamp" ]]; then
    if alive >/dev/null; then printf 'worker %s: packages change under a running training; stop it first\n' "$host" >&2; return 1; fi
    bash "$code/tools/install_system_packages.sh" --required bubblewrap
    command -v uv >/dev/null || python3 -m pip install --quiet uv || python3 -m pip install --quiet --break-system-packages uv
    [[ -x $python ]] || uv venv --quiet --python 3.11 "$HSD_HOME/venv"
    uv pip install --quiet --exact --python "$python" -r "$code/tpu_scripts/requirements.txt" -c "$code/requirements.lock"
    printf '%s' "$stamp" >"$HSD_HOME/stamp"
  fi
  printf '%s\n' "$1" >"$HSD_HOME/commit"
  if [[ -n $HSD_FILES ]]; then copy_files; fi
  mkdir -p "$run"
  chmod 755 "$HSD_HOME" "$run"
  if [[ -n $HSD_USER ]]; then chown -R "$HSD_USER" "$run"; fi
  rm -f "$HSD_HOME/setting_up"
  printf 'worker %s ready %s\n' "$host" "$(digest)"
}

launch() {
  local pid
  if pid=$(alive); then printf 'worker %s running already (pid %s)\n' "$host" "$pid"; return; fi
  rm -f "$run/exit_code" "$run/pid" "$run/supervisor"
  local environment=(HSD_HOME="$HSD_HOME" HSD_CACHE="$HSD_CACHE" HSD_COMMIT="$(<"$HSD_HOME/commit")")
  if [[ -n $HSD_USER ]]; then environment+=(HOME="/home/$HSD_USER"); fi
  local supervise=(bash "${BASH_SOURCE[0]}" supervise "$@")
  if [[ -d /run/systemd/system ]]; then
    # A unit is stopped before the network is (a session is not), and has the time to save its state.
    systemd-run --quiet --collect --unit=hsd-train ${HSD_USER:+--uid="$HSD_USER"} "${environment[@]/#/--setenv=}" \
      --property=After=network-online.target --property=KillMode=mixed --property=TimeoutStopSec=300 \
      --property=LimitMEMLOCK=infinity --property=LimitNOFILE=1048576 --working-directory="$HSD_HOME/code" "${supervise[@]}"
  else
    (cd "$HSD_HOME/code" && exec setsid nohup ${HSD_USER:+setpriv --reuid="$HSD_USER" --regid="$HSD_USER" --init-groups} \
      env "${environment[@]}" "${supervise[@]}" </dev/null >/dev/null 2>&1 9>&-) &
  fi
  for _ in {1..100}; do
    if [[ -s $run/pid ]]; then printf 'worker %s running (pid %s)\n' "$host" "$(<"$run/pid")"; return; fi
    sleep 0.1
  done
  printf 'worker %s: the training did not start within 10 s\n' "$host" >&2
  return 1
}

# Copies the log to the run's workdir if that is a bucket: a worker's disk dies with it. A failure is no reason to stop.
keep_log() {
  local workdir=${1#*--workdir } file=$run/$2
  workdir=${workdir%% *}
  if [[ $workdir != gs://* || ! -s $file ]]; then return; fi
  timeout 60 gcloud storage cp --quiet "$file" "$workdir/logs/$host$3.log" >/dev/null 2>&1 || true
}

# Time and worker before every line; outlives the signals that end the training, so that its last words are kept. A log
# that has grown large is put aside and begun anew.
label_lines() {
  trap '' TERM INT HUP
  local line size
  size=$(stat --format=%s "$run/train.log" 2>/dev/null || echo 0)
  while IFS= read -r line || [[ -n $line ]]; do
    printf -v line '%(%Y-%m-%dT%H:%M:%SZ)T %s | %s' -1 "$host" "$line"
    printf '%s\n' "$line" >>"$run/train.log"
    size=$((size + ${#line} + 1))
    if ((size > HSD_LOG_BYTES)); then
      mv "$run/train.log" "$run/train.log.1"
      keep_log "$*" train.log.1 "-$(date +%Y%m%dT%H%M%S)" &
      size=0
    fi
  done
}

# Runs the training as a child, hands a request to end on to it, and records its exit code.
supervise() {
  export HSD_DISTRIBUTED=auto TZ=UTC JAX_COMPILATION_CACHE_DIR=$HSD_CACHE PYTHONUNBUFFERED=1
  if [[ -z $HSD_CACHE ]]; then unset JAX_COMPILATION_CACHE_DIR; fi
  local code=0 asked=1 pid
  printf '%s' "$$" >"$run/supervisor"
  "$python" -m hsd_jax.train "$@" > >(label_lines "$@") 2>&1 &
  pid=$!
  printf '%s' "$pid" >"$run/pid"
  trap 'asked=1; kill -TERM "$pid" 2>/dev/null || true' TERM INT HUP
  while sleep "$HSD_LOG_SECONDS" && kill -0 "$$" 2>/dev/null; do keep_log "$*" train.log ''; done &
  local keeper=$!
  while ((asked)); do # a signal interrupts wait; the training's own code comes with the next one
    asked=0 code=0
    wait "$pid" || code=$?
  done
  printf '%s' "$code" >"$run/exit_code.new"
  mv "$run/exit_code.new" "$run/exit_code"
  kill "$keeper" 2>/dev/null || true
  keep_log "$*" train.log ''
}

stop() {
  local pid
  if ! pid=$(alive); then printf 'worker %s: nothing is running\n' "$host"; return; fi
  kill -TERM "$(<"$run/pid")" 2>/dev/null || true
  for _ in {1..3000}; do
    if ! alive >/dev/null; then status; return; fi
    sleep 0.1
  done
  printf 'worker %s: still saving after 300 s (pid %s)\n' "$host" "$pid" >&2
  return 1
}

status() {
  local pid code word last=''
  if [[ -f $run/train.log ]]; then last=$(tail -n 1 "$run/train.log" | cut -c1-160); fi
  if pid=$(alive); then printf 'worker %s running pid %s | %s\n' "$host" "$pid" "$last"; return; fi
  if pid=$(cat "$HSD_HOME/setting_up" 2>/dev/null); then
    if grep -qs worker.sh "/proc/$pid/cmdline"; then word='absent | setting up'; else word='broken | its setup ended early'; fi
    printf 'worker %s %s\n' "$host" "$word"
    return
  fi
  if ! code=$(cat "$run/exit_code" 2>/dev/null); then
    # A process id without an exit code: the machine went down under the run.
    if [[ -s $run/pid ]]; then word='failed (killed)'; else word=absent; fi
    printf 'worker %s %s | %s\n' "$host" "$word" "$last"
    return
  fi
  case $code in 0) word='done' ;; 2) word=refused ;; 3) word=preempted ;; *) word=failed ;; esac
  printf 'worker %s %s code %s | %s\n' "$host" "$word" "$code" "$last"
}

phase=${1:?a phase: setup, launch, stop, status, log or follow}
shift
case $phase in
  setup | launch) # one at a time: the startup script and whoever is logged in may both want to
    exec 9>>"$HSD_HOME/lock"
    flock 9
    "$phase" "$@"
    ;;
  supervise | stop | status) "$phase" "$@" ;;
  log) { cat "$run"/train.log.1 "$run"/train.log 2>/dev/null || true; } | tail -n "$1" ;;
  follow) exec tail -n "$1" -F "$run/train.log" ;;
  *) printf 'unknown phase %s\n' "$phase" >&2; exit 2 ;;
esac
