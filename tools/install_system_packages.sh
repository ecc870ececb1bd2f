#!/usr/bin/env bash
# Installs the system packages the project can use: bubblewrap (the sandbox for programs), chromium (report tests)
# and shellcheck (script tests). Safe to run again. What cannot be installed is named, and the tests that need it are
# skipped with the same name; only with --required that is a failure. Waits while another apt works, at most
# APT_LOCK_SECONDS (600): a machine that has just booted often updates itself.
#
#   tools/install_system_packages.sh [--required] [package ...]      default: bubblewrap chromium shellcheck
set -uo pipefail

declare -A COMMAND=([bubblewrap]=bwrap [chromium]=chromium [shellcheck]=shellcheck)
declare -A PURPOSE=(
  [bubblewrap]="the best sandbox for programs written by the model"
  [chromium]="browser tests of the report"
  [shellcheck]="checks of the shell scripts"
)

present() {
  local package=$1
  command -v "${COMMAND[$package]:-$package}" >/dev/null 2>&1 && return 0
  [[ $package == chromium ]] || return 1
  command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1
}

missing_of() {
  local package
  for package in "$@"; do
    present "$package" || printf '%s\n' "$package"
  done
}

# apt-get, which waits until it gets the locks; what it said last stays in `said`.
apt() {
  local deadline=$((SECONDS + ${APT_LOCK_SECONDS:-600}))
  until said=$("${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=60 "$@" 2>&1); do
    [[ $said =~ [Cc]ould\ not\ get\ lock|[Uu]nable\ to\ (acquire|lock) ]] && ((SECONDS < deadline)) || return 1
    sleep "${APT_PAUSE_SECONDS:-5}"
  done
}

install_with_apt() {
  local said=''
  run=()
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "install_system_packages: no apt-get on this system; install with its own package manager"
    return
  fi
  if [[ $(id -u) -ne 0 ]]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
      run=(sudo -n)
    else
      echo "install_system_packages: neither root nor password-free sudo; ask an administrator to install"
      return
    fi
  fi
  apt update || echo "install_system_packages: apt-get update failed; trying with the known package lists"
  local package
  for package in "$@"; do
    # one by one: a package that does not exist must not keep the others away
    apt install -y --no-install-recommends "$package" || echo "install_system_packages: $package: ${said##*$'\n'}"
  done
}

main() {
  local required=0 lacking=0
  if [[ ${1:-} == --required ]]; then required=1; shift; fi
  local -a wanted=("$@") missing
  ((${#wanted[@]})) || wanted=(bubblewrap chromium shellcheck)
  mapfile -t missing < <(missing_of "${wanted[@]}")
  ((${#missing[@]})) && install_with_apt "${missing[@]}"
  local package
  for package in "${wanted[@]}"; do
    if present "$package"; then
      echo "present: $package"
    else
      lacking=1
      echo "MISSING: $package (${PURPOSE[$package]:-a wanted package})"
    fi
  done
  ((!required || !lacking))
}

main "$@"
