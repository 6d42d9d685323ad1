#!/bin/bash
# Client flavour (in the chroot): Debian with the programs that prove a service from another host.
apt-get install -y --no-install-recommends /media/*.deb
rm -rf /etc/dhcp/dhclient-enter-hooks.d/resolved* /var/cache/apt/archives/*.deb
