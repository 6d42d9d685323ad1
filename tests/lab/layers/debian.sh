#!/bin/bash
# Debian flavour (runs in the chroot): a blank host that can install its packages from a local repository.
mkdir -p /srv/share/apt
cp /media/*.deb /srv/share/apt/
cd /srv/share/apt
for deb in *.deb; do
  dpkg-deb --field "$deb"
  printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d' ' -f1)"
done | xz -1 > Packages.xz
echo 'deb [trusted=yes] file:/srv/share/apt ./' > /etc/apt/sources.list
apt-get update
