#!/bin/bash
# el-rpms.sh DEBS OUT : repack Debian's daemons as RPMs with EL's names, paths, users and units, in two repositories.
# What a package holds besides its programs (configuration, units) lies as plain files in rpms/NAME.
set -euo pipefail
HERE=$(dirname "$(readlink -f "$0")"); DEBS=$1; OUT=$2; WORK=$(mktemp -d)
mkdir -p "$OUT/baseos" "$OUT/epel"

deb() { # deb NAME -> the folder it is unpacked in
  local d=$WORK/deb/$1; [ -d "$d" ] || { mkdir -p "$d"; dpkg-deb -x "$DEBS/$1"_*.deb "$d"; }; echo "$d"; }
version() { dpkg-deb -f "$DEBS/$1"_*.deb Version | sed -E 's/^[0-9]+://; s/[^0-9.].*//; s/\.$//'; }
user() { # user NAME HOME -> a %pre that makes it
  echo "getent group $1 >/dev/null || groupadd -r $1; getent passwd $1 >/dev/null || useradd -r -g $1 -d $2 -s /sbin/nologin $1"; }
new() { # new NAME DEB : begin a package with the version of DEB
  NAME=$1 VERSION=$(version "$2"); ROOT=$WORK/root/$NAME PRE='' UNIT='' DIRS='' GROUP='' REQUIRES=''
  mkdir -p "$ROOT"; [ ! -d "$HERE/rpms/$NAME" ] || cp -r "$HERE/rpms/$NAME/." "$ROOT"
  chmod -R u=rwX,go=rX "$ROOT"; }
program() { # program DEB PATH... : take programs from a deb (which may still have them outside /usr)
  local from p; from=$(deb "$1"); shift
  for p; do [ -f "$from$p" ] && install -D -m 755 "$from$p" "$ROOT$p" || install -D -m 755 "$from${p#/usr}" "$ROOT$p"; done; }

head_() { printf 'Name: %s\nVersion: %s\nRelease: 1.el9\nSummary: %s\nLicense: various\nAutoReqProv: no\n' "$NAME" "$VERSION" "$NAME"; }
scripts() { # the scriptlets of %systemd_post, %systemd_preun, %systemd_postun_with_restart
  [ -z "$PRE" ] || printf '%%pre\n%s\n' "$PRE"
  [ -n "$UNIT" ] || return 0
  cat <<END
%post
systemctl daemon-reload >/dev/null 2>&1 || :
if [ \$1 -eq 1 ]; then systemctl --no-reload preset $UNIT >/dev/null 2>&1 || :; fi
%preun
if [ \$1 -eq 0 ]; then systemctl --no-reload disable --now $UNIT >/dev/null 2>&1 || :; fi
%postun
systemctl daemon-reload >/dev/null 2>&1 || :
if [ \$1 -ge 1 ]; then systemctl try-restart $UNIT >/dev/null 2>&1 || :; fi
END
}
files() { # all files; those under /etc are the administrator's (only GROUP's, if set); DIRS holds owner:group:mode:path
  local f owner group mode path
  echo %files
  (cd "$ROOT"; find . \( -type f -o -type l \) -printf '/%P\n') | while read -r f; do
    case $f in /etc/*.conf) echo "%config(noreplace) ${GROUP:+%attr(0640,root,$GROUP)} \"$f\"" ;; /etc/*) echo "%config(noreplace) \"$f\"" ;; *) echo "\"$f\"" ;; esac; done
  for f in $DIRS; do IFS=: read -r owner group mode path <<<"$f"; mkdir -p "$ROOT$path"; echo "%dir %attr($mode,$owner,$group) $path"; done
}
pack() { # pack REPO [ARCH] < further spec lines
  local spec=$WORK/$NAME.spec
  { head_; for r in $REQUIRES; do echo "Requires: $r"; done; cat; printf '%%description\n%s\n%%install\nmkdir -p %%{buildroot}; cp -a %s/. %%{buildroot}/\n' "$NAME" "$ROOT"
    scripts; files; } > "$spec"
  rpmbuild -bb --quiet --define "_topdir $WORK/rpmbuild" --define "_rpmdir $OUT/$1" --define 'debug_package %{nil}' \
    --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' --define '__os_install_post %{nil}' \
    --define '_build_id_links none' --define '_binary_payload w1.gzdio' --target "${2:-$(uname -m)}" "$spec"
}

# What an EL host has from the start. The files are the base tree's; these make rpm and dnf know the names.
new centos-stream-release rpm; VERSION=9.0
{ printf 'Provides: %s\n' 'system-release = 9' 'system-release(releasever) = 9' 'centos-release = 9' 'redhat-release = 9'
  echo '%description'; echo base
  for p in bash coreutils systemd openssh-server openssh-clients python3 python3-libselinux sudo iproute iputils procps-ng curl tar gzip xz \
    bzip2 zstd unzip nftables dbus shadow-utils util-linux ca-certificates dnf rpm glibc findutils grep sed gawk; do
    printf '%%package -n %s\nSummary: %s\n' $p $p
    [ $p != bash ] || printf 'Provides: /bin/sh\nProvides: /usr/bin/sh\nProvides: /bin/bash\nProvides: /usr/bin/bash\n'
    [ $p != dnf ] || printf 'Provides: yum\n'
    printf '%%description -n %s\n%s\n%%files -n %s\n' $p $p $p
  done; } | pack baseos noarch
new policycoreutils-python-utils rpm; pack baseos noarch </dev/null   # SELinux is off: nothing in it is ever called
new epel-release rpm; VERSION=9; pack baseos noarch </dev/null

new bind bind9; PRE=$(user named /var/named); GROUP=named REQUIRES=bind-utils UNIT=named.service
program bind9 /usr/sbin/named
install -D -m 755 -t "$ROOT/usr/sbin" "$(deb bind9-utils)"/usr/{s,}bin/{rndc,rndc-confgen,named-checkconf,named-checkzone} 2>/dev/null || :
mkdir -p "$ROOT/etc/bind"; for f in named.conf rndc.key; do ln -s "../$f" "$ROOT/etc/bind/$f"; done   # Debian's compiled-in paths
DIRS="root:named:0770:/var/named named:named:0770:/var/named/data named:named:0770:/var/named/dynamic named:named:0770:/var/named/slaves"
pack baseos </dev/null

new bind-utils bind9-dnsutils
program bind9-dnsutils /usr/bin/dig /usr/bin/nslookup /usr/bin/nsupdate; program bind9-host /usr/bin/host; pack baseos </dev/null

new dhcp-server isc-dhcp-server; PRE=$(user dhcpd /) UNIT=dhcpd.service DIRS=dhcpd:dhcpd:0755:/var/lib/dhcpd
program isc-dhcp-server /usr/sbin/dhcpd; pack baseos </dev/null

new kea kea-dhcp4-server; PRE=$(user kea /var/lib/kea) UNIT=kea-dhcp4.service
DIRS="kea:kea:0750:/var/lib/kea kea:kea:0750:/var/log/kea"
program kea-dhcp4-server /usr/sbin/kea-dhcp4; pack baseos </dev/null

new haproxy haproxy; PRE=$(user haproxy /var/lib/haproxy) UNIT=haproxy.service
DIRS="root:root:0755:/etc/haproxy/conf.d haproxy:haproxy:0755:/var/lib/haproxy"
program haproxy /usr/sbin/haproxy; pack baseos </dev/null

new nginx nginx; PRE=$(user nginx /var/lib/nginx) UNIT=nginx.service
DIRS="root:root:0755:/etc/nginx/conf.d root:root:0755:/etc/nginx/default.d root:root:0755:/usr/share/nginx/modules"
DIRS+=" nginx:root:0711:/var/log/nginx nginx:root:0770:/var/lib/nginx nginx:root:0770:/var/lib/nginx/body"
program nginx /usr/sbin/nginx; install -D -m 644 "$(deb nginx-common)/etc/nginx/mime.types" "$ROOT/etc/nginx/mime.types"; pack baseos </dev/null

new chrony chrony; PRE=$(user chrony /var/lib/chrony) UNIT=chronyd.service
DIRS="chrony:chrony:0750:/var/lib/chrony chrony:chrony:0750:/var/log/chrony"
program chrony /usr/sbin/chronyd /usr/bin/chronyc; pack baseos </dev/null

new firewalld firewalld; UNIT=firewalld.service DIRS=root:root:0750:/etc/firewalld
for f in helpers icmptypes ipsets policies services zones; do DIRS+=" root:root:0750:/etc/firewalld/$f"; done
cp -a "$(deb firewalld)"/{etc,usr} "$ROOT"; rm -rf "$ROOT"/etc/init.d "$ROOT"/usr/share/{doc,man,locale}
install -D -m 644 "$(deb firewalld)/lib/systemd/system/firewalld.service" "$ROOT/usr/lib/systemd/system/firewalld.service"
ln -sf org.fedoraproject.FirewallD1.server.policy.choice "$ROOT/usr/share/polkit-1/actions/org.fedoraproject.FirewallD1.policy"
pack baseos </dev/null

new NetworkManager network-manager; UNIT=NetworkManager.service
cp -a "$(deb network-manager)"/{etc,usr} "$ROOT"; cp -a "$(deb network-manager)/lib/." "$ROOT/usr/lib"
rm -rf "$ROOT"/etc/init.d "$ROOT"/usr/share/{doc,man,locale,bash-completion}
pack baseos </dev/null

new rsync rsync; program rsync /usr/bin/rsync; pack baseos </dev/null
new acl acl; program acl /usr/bin/getfacl /usr/bin/setfacl /usr/bin/chacl; pack baseos </dev/null
new tree tree; program tree /usr/bin/tree; pack baseos </dev/null
new httpd-tools apache2-utils; program apache2-utils /usr/bin/ab /usr/bin/htpasswd /usr/bin/htdigest; pack epel </dev/null

for repo in baseos epel; do createrepo_c -q "$OUT/$repo"; done
rm -rf "$WORK"
