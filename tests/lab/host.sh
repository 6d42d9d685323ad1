#!/bin/bash
# What runs as a lab host. `outer` boots it again at each reboot; `init` builds its root and becomes its PID 1.
# Wanted in the environment: LAB and HOST (names), DIR (the host's state), NETNS, CGROUP (its own cgroup2 folder).
set -euo pipefail

outer() {
  echo $$ > "$DIR/pid"
  local rc up
  while :; do
    echo $$ > "$CGROUP/cgroup.procs"   # first of all: who kills this cgroup has killed the host
    rc=0; up=$(cut -d. -f1 /proc/uptime)
    nsenter --net="/run/netns/$NETNS" unshare --mount --uts --ipc --pid --cgroup --time --boottime "-$up" --monotonic "-$up" \
      --fork --kill-child "$0" init || rc=$?
    [ $rc = 129 ] || break             # reboot(2) in a pid namespace: restart ends PID 1 by SIGHUP (129), power off by SIGINT (130)
  done
  "$(dirname "$0")/lab" --name "$LAB" __off "$HOST"
}

devices() { # a /dev of its own
  local m=$1 name major minor
  mount -t tmpfs -o mode=755,size=4m tmpfs "$m/dev"
  while read -r name major minor; do mknod -m 666 "$m/dev/$name" c "$major" "$minor"; done <<'END'
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
END
  mkdir "$m"/dev/{net,pts,shm}; mknod -m 666 "$m/dev/net/tun" c 10 200
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$m/dev/pts"; ln -s pts/ptmx "$m/dev/ptmx"
  ln -s /proc/self/fd "$m/dev/fd"; ln -s fd/0 "$m/dev/stdin"; ln -s fd/1 "$m/dev/stdout"; ln -s fd/2 "$m/dev/stderr"
  : > "$m/dev/console"; mount --bind /dev/null "$m/dev/console"
  mount -t tmpfs tmpfs "$m/dev/shm"
}

kernel() { # /proc and /sys: only what belongs to the host's own network can be written
  local m=$1 file
  mount -t proc proc "$m/proc"
  mount --bind "$m/proc/sys" "$m/proc/sys"; mount --bind "$m/proc/sys/net" "$m/proc/sys/net"; mount -o remount,bind,ro "$m/proc/sys"
  for file in sysrq-trigger kmsg; do [ ! -e "$m/proc/$file" ] || mount --bind /dev/null "$m/proc/$file"; done
  cat /proc/sys/kernel/random/uuid > "$DIR/boot_id"; mount --bind "$DIR/boot_id" "$m/proc/sys/kernel/random/boot_id"
  mount -t sysfs sysfs "$m/sys"
  mount --bind "$m/sys/devices/virtual/net" "$m/sys/devices/virtual/net"; mount -o remount,bind,ro "$m/sys"
  mount -t cgroup2 cgroup2 "$m/sys/fs/cgroup"
}

init() {
  local m=$DIR/merged
  rm -rf "$DIR/work/work/incompat"     # left by "volatile" (no sync of the machine's disk); it would refuse the second boot
  mount -t overlay overlay -o "lowerdir=$(cat "$DIR/lower"),upperdir=$DIR/disk,workdir=$DIR/work,volatile" "$m"
  kernel "$m"; devices "$m"
  mount -t tmpfs -o mode=755 tmpfs "$m/run"; mount -t tmpfs -o mode=1777 tmpfs "$m/tmp"
  hostname "$HOST"
  cd "$m"; mkdir -p .old; pivot_root . .old; umount -l /.old; rmdir /.old
  local env=(env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb)
  if [ -e /etc/lab-cheap ]; then       # no systemd: this shell reaps, sshd serves
    mkdir -p /run/sshd; "${env[@]}" /usr/sbin/sshd -D & wait $!; exit 0
  fi
  exec setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog,-wake_alarm --inh-caps=-all \
    "${env[@]}" /lib/systemd/systemd --system --log-target=journal --show-status=0
}

"$1"
