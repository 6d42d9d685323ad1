#!/bin/bash
# What runs as a guest: a virtual machine under emulation, booted again at each restart by what its boot order finds.
# `outer` decides and boots; `inner` is the emulator in a root of its own (LOWER), with the files that it uses bound in.
# Wanted in the environment: LAB and HOST (names), DIR (the guest's state), NETNS, CGROUP, PORT (its cable), LOWER, MEDIA.
set -euo pipefail

OFF=99   # what the emulator ends with when the guest switched itself off: (49 << 1) | 1

installed() { [ -n "${DISK:-}" ] && [ "$(head -c 16 "$DISK" | tr -d '\0')" = OKD-LAB-INSTALLE ]; }

outer() {
  echo $$ > "$DIR/pid"
  local rc
  while :; do
    echo $$ > "$CGROUP/cgroup.procs"   # first of all: who kills this cgroup has killed the guest
    . "$DIR/vm"                        # read anew at each boot: MAC DISK BUS CDROM ORDER MEMORY STAND_IN
    rc=0; nsenter --net="/run/netns/$NETNS" unshare --mount --pid --fork --kill-child --propagation private "$0" inner || rc=$?
    [ $rc = 0 ] || break               # 0: the guest was reset
  done
  [ $rc = $OFF ] || echo "lab: the emulator ended with $rc"
  "$(dirname "$0")/lab" --name "$LAB" __off "$HOST"
}

bound() { # bound FILE NAME : FILE as /media/NAME in the emulator's root
  : > "$m/media/$2"; mount --bind "$1" "$m/media/$2"; }

inner() {
  local m=$DIR/merged word index=0 boot=firmware
  . "$DIR/vm"
  local net=() disk=() cd=()
  mount -t overlay overlay -o "lowerdir=$LOWER" "$m"   # no upper directory: read-only
  mount -t tmpfs -o mode=755,size=4m tmpfs "$m/media"; mount --bind "$MEDIA" "$m/mnt"; mount --rbind /dev "$m/dev"; mount -t proc proc "$m/proc"
  mount -t tmpfs -o mode=1777,size=64m tmpfs "$m/tmp"
  bound "$DIR/console.log" console
  net=(-netdev "tap,id=net0,ifname=$PORT,script=no,downscript=no" -device "virtio-net-pci,netdev=net0,mac=$MAC")
  if [ -n "$DISK" ]; then
    bound "$DISK" disk; disk=(-drive "if=none,id=disk,file=/media/disk,format=raw,cache=unsafe")
    case $BUS in virtio) disk+=(-device virtio-blk-pci,drive=disk) ;; *) disk+=(-device virtio-scsi-pci -device scsi-hd,drive=disk) ;; esac
  fi
  [ -z "$CDROM" ] || { bound "$CDROM" cdrom; cd=(-drive if=none,id=cd,media=cdrom,readonly=on,file=/media/cdrom,format=raw -device ide-cd,drive=cd); }
  for word in ${ORDER//,/ }; do        # an installed disk boots our kernel; an empty one is passed over
    index=$((index + 1))
    case $word in
      disk) ! installed || { boot=disk; break; } ;;
      cdrom) [ -z "$CDROM" ] || cd[-1]+=,bootindex=$index ;;
      net) net[-1]+=,bootindex=$index ;;
    esac
  done
  local kernel=()
  if [ $boot = disk ]; then
    local name=/dev/sda; [ "$BUS" != virtio ] || name=/dev/vda
    kernel=(-kernel /mnt/vmlinuz -initrd /mnt/installed.img -append "console=ttyS0 panic=5 quiet lab.installed=$name")
    net[-1]+=,romfile=
  fi
  echo "lab: $HOST starts: order $ORDER, from $boot"
  [ -z "$STAND_IN" ] || kernel+=(-fw_cfg "name=opt/okd-lab/stand-in,string=${STAND_IN//[:,]/ }")
  exec chroot "$m" /usr/bin/env -i PATH=/usr/bin:/bin TMPDIR=/tmp qemu-system-x86_64 -name "$HOST" -nodefaults -no-user-config -display none \
    -machine pc,graphics=off -accel tcg,tb-size=48 -cpu qemu64,+rdrand,+ssse3 -smp 1 -m "$MEMORY" -no-reboot -boot menu=off,strict=on,reboot-timeout=3000 \
    -chardev file,id=console,path=/media/console,append=on -serial chardev:console -device isa-debug-exit,iobase=0x501,iosize=1 \
    -device virtio-rng-pci "${kernel[@]}" "${disk[@]}" "${cd[@]}" "${net[@]}"
}

"$1"
