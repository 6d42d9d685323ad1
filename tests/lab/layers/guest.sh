#!/bin/bash
# Guests (in the chroot): the emulator with its firmware, and what makes media that it can boot. The kernel is unpacked, not installed.
not='linux-image-.*|initramfs-tools.*|linux-base|klibc-utils|libklibc|cpio|kmod|libkmod2|logsave'
apt-get install -y --no-install-recommends $(ls /media/*.deb | grep -vE "/($not)_")
mkdir -p /srv/kernel; dpkg-deb -x /media/linux-image-[0-9]*.deb /srv/kernel
