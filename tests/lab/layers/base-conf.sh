#!/bin/bash
# mmdebstrap's last step ($1 is the tree): what each host shares, and the download of the flavours' packages.
set -euo pipefail
ROOT=$1; HERE=$(dirname "$(readlink -f "$0")")
cd "$ROOT"

export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
for set in debian client el guest; do # apt keeps what it has, so each folder holds links to one copy
  [ $set != guest ] || [ "$(uname -m)" = x86_64 ] || continue
  mkdir -p "$OUT/debs-$set"
  packages=$(awk -v s=$set '$1 == s { $1 = ""; print }' "$HERE/packages")
  apt-get install -y --download-only $packages
  apt-get install -y --print-uris -o Dir::Cache::archives="$OUT/debs-$set" $packages | sed -n "s/^'.*' \([^ ]*\.deb\) .*/\1/p" |
    while read -r deb; do ln "var/cache/apt/archives/$deb" "$OUT/debs-$set/"; done
done

# Users: ops must give a password to sudo, auto need not.
for user in ops:1000 auto:1001; do chroot . useradd -m -u "${user#*:}" -s /bin/bash "${user%:*}"; done
echo 'ops:ops-secret' | chroot . chpasswd
printf 'ops ALL=(ALL:ALL) ALL\nauto ALL=(ALL:ALL) NOPASSWD: ALL\n' > etc/sudoers.d/lab; chmod 440 etc/sudoers.d/lab

# Identity is given to each host when it is made.
: > etc/default/locale; : > etc/machine-id; : > etc/resolv.conf; chmod 644 etc/resolv.conf; rm -f var/lib/dbus/machine-id etc/ssh/ssh_host_* etc/hostname
printf 'UseDNS no\nMaxStartups 100:30:200\nMaxSessions 100\nPermitRootLogin prohibit-password\n' > etc/ssh/sshd_config.d/lab.conf

mkdir -p etc/systemd/{journald,system}.conf.d etc/systemd/system/{chrony,systemd-sysctl}.service.d
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n' > etc/systemd/journald.conf.d/lab.conf
printf '[Manager]\nDefaultTimeoutStopSec=10s\nDefaultTimeoutStartSec=30s\n' > etc/systemd/system.conf.d/lab.conf
# A host may not set the machine's clock (-x), and of the kernel's settings it owns only net.*.
printf '[Unit]\nConditionCapability=\n[Service]\nExecStart=\nExecStart=!/usr/sbin/chronyd -x $DAEMON_OPTS\n' > etc/systemd/system/chrony.service.d/lab.conf
rm -f usr/lib/sysctl.d/{50-pid-max,99-protect-links}.conf
printf '[Unit]\nConditionPathIsReadWrite=\n' > etc/systemd/system/systemd-sysctl.service.d/lab.conf
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service \
  systemd-pstore.service getty@.service console-getty.service container-getty@.service serial-getty@.service dev-hugepages.mount \
  sys-fs-fuse-connections.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
  systemd-modules-load.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount systemd-udevd.service \
  systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service; do
  ln -sfn /dev/null "etc/systemd/system/$unit"
done
rm -rf etc/systemd/system/getty.target.wants
