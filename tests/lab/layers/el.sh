#!/bin/bash
# EL flavour (in the chroot): turns the Debian tree into a host that answers like CentOS Stream 9, with a real dnf and rpm.
# Debian's daemons are only repacked as RPMs; their libraries are installed here.
daemons='bind9|bind9-utils|bind9-dnsutils|bind9-host|isc-dhcp-server|haproxy|nginx|nginx-common|firewalld|chrony|rsync|acl|apache2-utils|cron|tree|kea-dhcp4-server|network-manager'
apt-get install -y --no-install-recommends $(ls /media/*.deb | grep -vE "/($daemons)_")
bash /mnt/el-rpms.sh /media /srv/share/el

# sshd's unit has EL's name; the SysV scripts would make a second one that takes port 22.
sed -E '/^Alias=/d; s#^EnvironmentFile=.*#EnvironmentFile=-/etc/sysconfig/sshd#' /lib/systemd/system/ssh.service > /tmp/sshd.service
rm -rf /etc/init.d/* /etc/rc?.d/* /etc/systemd/system/sshd.service /etc/systemd/system/multi-user.target.wants/ssh.service
rm -f /lib/systemd/system/ssh.service /lib/systemd/system/ssh@.service /lib/systemd/system/ssh.socket
install -m 644 /tmp/sshd.service /usr/lib/systemd/system/sshd.service
ln -s /usr/lib/systemd/system/sshd.service /etc/systemd/system/multi-user.target.wants/sshd.service
rm -rf /etc/systemd/system/chrony.service.d

# What a package brings starts at boot only where EL says so.
mkdir -p /usr/lib/systemd/system-preset
printf 'enable %s\n' chronyd.service crond.service firewalld.service NetworkManager.service sshd.service > /usr/lib/systemd/system-preset/90-default.preset
printf 'disable *\n' > /usr/lib/systemd/system-preset/99-default-disable.preset

rm -f /etc/os-release /usr/lib/os-release /etc/debian_version
mkdir -p /etc/dnf /etc/sysconfig
printf '[main]\ngpgcheck=0\ninstallonly_limit=3\nbest=True\nskip_if_unavailable=True\nmetadata_expire=-1\n' > /etc/dnf/dnf.conf
ln -sf dnf /usr/bin/yum
getent group wheel >/dev/null || groupadd -r wheel
rpm -U /srv/share/el/baseos/{centos-stream-release,bash,coreutils,systemd,openssh-server,openssh-clients,python3,python3-libselinux,sudo,iproute,iputils,procps-ng,curl,tar,gzip,xz,bzip2,zstd,unzip,nftables,dbus,shadow-utils,util-linux,ca-certificates,dnf,rpm,glibc,findutils,grep,sed,gawk}-[0-9]*.noarch.rpm
dnf -q makecache
rm -rf /usr/bin/apt* /usr/bin/dpkg* /etc/apt /etc/dpkg /var/lib/apt /var/lib/dpkg /var/cache/apt /var/cache/debconf /var/log/apt /var/log/dpkg.log
