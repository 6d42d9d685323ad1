# The machine as it would be, in a mount namespace of its own: touched folders are copied, with their folders and large files bound
# into the copy, the new files go into the copy, and the copy is laid over the folder. $1: the stage; $2: `out` or `in` the namespace.
s=$1 r=$1/okd-play-root pre= seen='|' n=0 m=.okd-play-view how=$2
shift 2
die() { echo "the new files cannot be laid out: $*" >&2; exit 125; }
small() { find "$1" -mindepth 1 -maxdepth 1 \( -type l -o -type f -size -2048 \) -exec cp -a -t "$2" -- {} +; }
like() {
  chmod --reference="$1" "$2" && chown --reference="$1" "$2" 2>/dev/null
  [ ! -e /sys/fs/selinux/enforce ] || chcon --reference="$1" "$2" 2>/dev/null
}
ready() { # makes a folder one that may be written to
  case $seen in *"|$1|"*) return ;; esac
  seen="$seen$1|"
  if [ -n "$pre" ]; then
    mkdir -p "$r$1" || die "$1"
    if [ "$(du -sk "$1" | cut -f1)" -lt 65536 ]; then cp -a "$1/." "$r$1/"; else small "$1" "$r$1"; fi 2>/dev/null
    return
  fi
  n=$((n + 1))
  t=$s/t/$n
  mkdir "$t" || die "$1"
  like "$1" "$t"
  small "$1" "$t" 2>/dev/null
  t=$t find "$1" -mindepth 1 -maxdepth 1 ! -type l ! \( -type f -size -2048 \) -exec /bin/sh -c 'for e; do o=$t/${e##*/}
    if [ -d "$e" ]; then mkdir "$o"; else : >"$o"; fi && mount --rbind "$e" "$o" || exit; done' sh {} + || die "$1"
  : >"$t/$m" && mount --rbind "$t" "$1" && [ -e "$1/$m" ] || die "$1"
}
if [ "$how" = out ]; then
  for u in 'unshare -m' 'unshare -rm'; do
    u="$u --propagation private"
    if $u mount --bind "$s" "$s" 2>/dev/null; then exec $u /bin/sh "$0" "$s" in "$@"; fi
  done
  pre=$r
fi
mkdir "$r" "$s/t" || die "$r"
while read -r kind i mode who p; do
  d=${p%/*}
  while [ ! -d "${d:-/}" ] && [ ! -d "$pre$d" ]; do d=${d%/*}; done
  [ -n "$d" ] || die "$p is in no folder"
  ready "$d"
  q=$pre$p
  # What is mounted in the copy of its folder is so twice: where the copy was made, and where it is seen.
  [ -n "$pre" ] || { while umount -l "$q" 2>/dev/null; do :; done; umount -l "$s"/t/*/"${p##*/}" 2>/dev/null; }
  if [ -d "$q" ] && [ ! -L "$q" ]; then [ "$kind" = d ] || rmdir "$q"; else rm -f "$q"; fi || die "$p"
  case $kind in
    f) mkdir -p "${q%/*}" && cp "$s/new/$i" "$q" && chmod "$mode" "$q" ;;
    d) mkdir -p "$q" && chmod "$mode" "$q" && seen="$seen$p|" ;;
    l) ln -s "$(cat "$s/new/$i")" "$q" ;;
  esac || die "$p"
  [ "$kind" = - ] || chown -h "$who" "$q" 2>/dev/null
  [ ! -e /sys/fs/selinux/enforce ] || restorecon "$q" 2>/dev/null
done <"$s/list"
cd /
[ -n "$pre" ] || { rm -f "$s"/t/*/"$m"; mount --rbind / "$r"; } || die "$r"
exec "$@"
