#!/bin/bash
# Base tree into $OUT/tree from this machine's own Debian mirrors, and the packages of the flavours into $OUT/debs-*.
set -euo pipefail
HERE=$(dirname "$(readlink -f "$0")")
. /etc/os-release
# The machine's own proxies and checks hold inside too, and its Debian sources (no other) are the sources.
apt-config dump | grep -E '^Acquire::(https?|Check|Retries)[^"]* "[^"]+";' > "$OUT/apt.conf" || :
apt-get indextargets --format '$(ORIGIN) $(CODENAME) deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
  sed -nE "s/^Debian $VERSION_CODENAME(-updates|-security)? deb /deb /p" > "$OUT/sources.list"
[ -s "$OUT/sources.list" ] || { echo "no Debian $VERSION_CODENAME source on this machine (apt-get indextargets)"; exit 1; }
mmdebstrap --mode=root --variant=apt --include="$(awk '$1 == "base" { $1 = ""; print }' "$HERE/packages")" \
  --aptopt="$OUT/apt.conf" --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --customize-hook="$HERE/base-conf.sh" "$VERSION_CODENAME" "$OUT/tree" - < "$OUT/sources.list"
rm -f "$OUT"/tree/etc/apt/apt.conf.d/99mmdebstrap "$OUT"/tree/etc/apt/sources.list
echo 'Acquire::Languages "none";' > "$OUT/tree/etc/apt/apt.conf.d/99lab"
