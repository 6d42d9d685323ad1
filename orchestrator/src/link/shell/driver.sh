# The far end of plain SSH: reads "LENGTH COMMAND" lines, each followed by LENGTH bytes of data, and answers each with
# "= STATUS STDOUT_BYTES STDERR_BYTES CHECKER_STATUS" and the bytes. Needs a POSIX shell and GNU coreutils.
LC_ALL=C
export LC_ALL
N='
'
[ "$(id -u)" = 0 ] && mkdir -m 700 /run/okd-play 2>/dev/null
for base in /run/okd-play "${XDG_RUNTIME_DIR:-/nonexistent}" /tmp; do
  for old in "$base"/okd-play-shell-*; do
    [ -d "$old" ] && [ -O "$old" ] && [ ! -e "/proc/${old##*-}" ] && rm -rf "$old"
  done
  D=$base/okd-play-shell-$$
  mkdir -m 700 "$D" 2>/dev/null && break
  D=
done
unset XDG_RUNTIME_DIR
[ -n "$D" ] || { echo "okd-play-shell:no folder can be written: tried /run/okd-play and /tmp"; exit 1; }
trap 'rm -rf "$D"' EXIT
trap 'exit 1' HUP INT TERM PIPE

# Whether a program is there.
has() {
  case $1 in */*) [ -e "$1" ]; return ;; esac
  IFS=:
  for folder in $PATH; do
    [ -f "$folder/$1" ] && [ -x "$folder/$1" ] && { unset IFS; return 0; }
  done
  unset IFS
  return 1
}

# go SECONDS|- PROGRAM ARGUMENT...: becomes the program.
go() {
  limit=$1
  shift
  has "$1" || { printf '%s: command not found\n' "$1" >&2; exit 127; }
  LC_ALL=C.UTF-8
  unset PWD OLDPWD SHLVL
  [ "$limit" = - ] && exec "$@"
  exec timeout -s KILL "$limit" "$@"
}

# Whether nothing can be seen at a path because its folder is closed.
closed() {
  up=${1%/*}
  [ -d "${up:-/}" ] && [ ! -x "${up:-/}" ]
}

# look PATH...: a mark for each path, then what stat(1) says of those that are there, then where links point.
look() {
  left=$#
  while [ "$left" -gt 0 ]; do
    at=$1
    shift
    left=$((left - 1))
    if [ -L "$at" ] || [ -e "$at" ]; then
      printf +
      set -- "$@" "$at"
    elif closed "$at"; then
      printf '!'
    else
      printf -- -
    fi
  done
  echo
  [ $# = 0 ] || stat -c '%f %s %u %g %Y %d %i/%U/%G' -- "$@" || exit 41
  for at; do
    [ -L "$at" ] && { readlink -n -- "$at"; printf '\000'; }
  done
  exit 0
}

# fetch PATH LIMIT: the bytes; 43: nothing there, 44: its kind, 45: its size.
fetch() {
  if [ -f "$1" ]; then
    size=$(stat -L -c %s -- "$1") || exit 41
    [ "$size" -gt "$2" ] && { echo "$size"; exit 45; }
    head -c "$(($2 + 1))" -- "$1" || exit 41
  elif [ -d "$1" ]; then
    echo d
    exit 44
  elif [ -e "$1" ]; then
    echo o
    exit 44
  elif closed "$1"; then
    echo 'Permission denied' >&2
    exit 41
  else
    exit 43
  fi
  exit 0
}

# entries FOLDER: a letter for the kind and the name, each ended by a zero byte.
entries() {
  [ -d "$1" ] || exit 0
  if [ ! -r "$1" ] || ! cd -P -- "$1"; then
    echo 'Permission denied' >&2
    exit 41
  fi
  for name in * .[!.]* ..?*; do
    if [ -L "$name" ]; then kind=l
    elif [ -d "$name" ]; then kind=d
    elif [ -f "$name" ]; then kind=f
    elif [ -e "$name" ]; then kind=o
    else continue
    fi
    printf '%s%s\000' "$kind" "$name"
  done
  exit 0
}

# Gives what is new the label of the policy, where there is SELinux.
label() {
  [ ! -e /sys/fs/selinux/enforce ] || restorecon -- "$1" 2>/dev/null
}

# fill TEMPORARY PATH STEM MODE OWNERS KEPT_OWNERS: the data as a file beside PATH, ready to take its place; gone again
# unless it does.
fill() {
  temporary=$1
  trap 'rm -f -- "$temporary"' EXIT
  for old in "${1%/*}/$3"*; do
    maker=${old#"${1%/*}/$3"}
    [ -f "$old" ] && [ ! -e "/proc/${maker%%-*}" ] && rm -f -- "$old"
  done
  # Before a restart of the machine, another shell may have had this one's number.
  rm -f -- "$1"
  (umask 077; set -C; cat "$D/in" >"$1") || exit 41
  if [ -f "$2" ] && [ ! -h "$2" ]; then
    keep=mode,xattr
    [ -e /sys/fs/selinux/enforce ] && keep=$keep,context
    cp --attributes-only --preserve="$keep" -- "$2" "$1" 2>/dev/null
    [ "$(stat -c %u:%g -- "$1")" = "$6" ] || chown -- "$6" "$1" || exit 41
  fi
  [ -z "$5" ] || chown -- "$5" "$1" || exit 41
  chmod -- "$4" "$1" && sync -- "$1" || exit 41
}

# swap TEMPORARY PATH
swap() {
  new=
  [ -e "$2" ] && [ ! -h "$2" ] || new=1
  mv -fT -- "$1" "$2" || exit 41
  [ -z "$new" ] || label "$2"
  sync -- "${2%/*}/" || exit 41
  exit 0
}

# The file of the lock, as $lock.
lock_file() {
  uid=$(id -u)
  if [ "$uid" = 0 ]; then lock=/run/okd-play/lock
  elif [ -d "/run/user/$uid" ]; then lock=/run/user/$uid/okd-play.lock
  else lock=$HOME/.cache/okd-play/lock
  fi
}

# hold RUN WORD...: takes the machine for a run, as long as this shell lasts; 46: another one has it, 47: no lock here.
# As okd_agent's Local does.
hold() {
  has flock || { echo 'flock(1) is not there' >&2; return 47; }
  lock_file
  (umask 077; mkdir -p "${lock%/*}" && : >>"$lock") || return 47
  exec 9<>"$lock"
  for try in 1 2 3 4 5 6 7 8 9 10; do
    if flock -n -x 9; then
      printf '%s\n' "$@" "$$" >"$lock" || return 47
      flock -n -s 9 && return 0
    elif flock -n -s 9; then
      read -r held <"$lock"
      [ "$held" = "$1" ] && return 0
      flock -u 9
    fi
    sleep 0.02
  done
  exec 9>&-
  cat "$lock"
  return 46
}

# hang_up RUN: ends the SSH server's process by which a run came that is over and still has the machine.
# As okd_agent's Local does.
hang_up() {
  lock_file
  { read -r run; read -r by; read -r since; read -r host; read -r pid; } <"$lock"
  [ "$run" = "$1" ] && [ -n "$pid" ] || exit 1
  holds=
  for fd in "/proc/$pid/fd"/*; do [ "$(readlink -- "$fd")" = "$lock" ] && holds=1; done
  [ -n "$holds" ] || exit 1
  while [ "${pid:-1}" -gt 1 ]; do
    read -r name <"/proc/$pid/comm"
    case $name in sshd* | dropbear*) kill "$pid"; exit ;; esac
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
  done
  exit 1
}

count=0
echo "okd-play-shell:ready $D $$"
while IFS=' ' read -r length command; do
  count=$((count + 1))
  out=$D/o$count err=$D/e$count checker=-
  : >"$D/in"
  if [ "$length" != 0 ]; then
    head -c "$length" >"$D/in"
    [ "$(stat -c %s "$D/in")" = "$length" ] || exit 1
  fi
  case $command in
    hold\ *) eval "$command" >"$out" 2>"$err" <"$D/in" ;;
    *) eval "($command)" >"$out" 2>"$err" <"$D/in" 9>&- ;;
  esac
  status=$?
  if [ -e "$D/checker" ]; then
    read -r checker <"$D/checker"
    rm -f "$D/checker"
  fi
  set -- $(stat -c %s "$out" "$err")
  echo "= $status $1 $2 $checker"
  [ "$1" = 0 ] || cat "$out"
  [ "$2" = 0 ] || cat "$err"
  rm -f "$out" "$err"
done
