#!/bin/bash
# media.sh TREE OUT TOOL : what guests boot, from the unpacked kernel and the programs of the guests' tree (all lower
# directories as one). OUT: vmlinuz, initrd.img, rootfs.img (as CoreOS's PXE files), installed.img (what an installed disk
# boots), boot.ipxe (for a web server: leads each machine to the script of its MAC beside it), live.iso (laid out as CoreOS's, with an area for kernel arguments and one for an Ignition config).
set -euo pipefail
TREE=$1 OUT=$2 TOOL=$3 HERE=$(dirname "$(readlink -f "$0")"); WORK=$OUT/work
GUEST=$HERE/../guest
busybox() { "$TREE/bin/busybox" "$@"; }
pack() { (cd "$1"; find . | LC_ALL=C sort | busybox cpio -o -H newc 2>/dev/null | gzip -9n); }

# The initramfs: busybox, our program, our scripts, and of the kernel's modules those that are used, with what they need.
root=$WORK/initrd kernel=$TREE/srv/kernel
mkdir -p "$root"/{bin,lib/modules,etc}
install -m 755 "$TREE/bin/busybox" "$TOOL" "$GUEST/lease" "$root/bin"; install -m 644 "$GUEST"/{live,node} "$root/bin"; install -m 755 "$GUEST/init" "$root/init"
version=$(ls "$kernel/lib/modules"); modules=$kernel/lib/modules/$version
chroot "$TREE" /bin/busybox depmod -b /srv/kernel "$version"
need() { # need MODULE... : its files, those it depends on first
  local name file
  for name; do
    file=$(cd "$modules"; find . -name "${name//_/[-_]}.ko" | head -n 1); [ -n "$file" ] || { echo "no module $name"; exit 1; }
    sed -n "s#^${file#./}: *##p" "$modules/modules.dep" | tr ' ' '\n' | sed '/^$/d'; echo "${file#./}"
  done
}
need virtio_pci virtio_net virtio_scsi sd_mod virtio_blk virtio_rng qemu_fw_cfg | sort -u | while read -r file; do
  install -D -m 644 "$modules/$file" "$root/lib/modules/$version/$file"; done
cp "$modules/modules.dep" "$root/lib/modules/$version/"
mkdir -p "$root/etc/coreos"; features='{"installer-config": true, "live-initrd-network": true}'; echo "$features" > "$root/etc/coreos/features.json"
pack "$root" > "$OUT/initrd.img"

# The rest of a live system: TLS.
root=$WORK/rootfs
mkdir -p "$root"/{bin,etc/ssl,lib64}; echo "a root file system of the lab" > "$root/etc/lab-rootfs"
install -m 755 "$TREE/usr/bin/openssl" "$root/bin"; printf '[req]\ndistinguished_name=name\n[name]\n' > "$root/etc/ssl/openssl.cnf"
mkdir -p "$root/usr/lib"; ln -s ../../etc/ssl "$root/usr/lib/ssl"
chroot "$TREE" ldd /usr/bin/openssl | grep -o '/lib[^ ]*' | while read -r lib; do install -D -m 755 "$TREE/$lib" "$root$lib"; done
pack "$root" > "$OUT/rootfs.img"
cp "$kernel/boot/vmlinuz-$version" "$OUT/vmlinuz"
cat "$OUT/initrd.img" "$OUT/rootfs.img" > "$OUT/installed.img"
printf '#!ipxe\nchain ${net0/mac:hexhyp}.ipxe\n' > "$OUT/boot.ipxe"

# The live ISO. Each boot loader's file has the area at the same place of its kernel line: arguments, a newline, and "#".
iso=$WORK/iso size=1139 label=okd-lab-coreos
default="mitigations=auto,nosmt coreos.liveiso=$label ignition.firstboot ignition.platform.id=metal console=ttyS0"
mkdir -p "$iso"/{coreos,EFI/fedora,images/pxeboot,isolinux}
cp "$OUT"/{vmlinuz,initrd.img,rootfs.img} "$iso/images/pxeboot/"; truncate -s 262144 "$iso/images/ignition.img"
cp "$TREE/usr/lib/ISOLINUX/isolinux.bin" "$TREE/usr/lib/syslinux/modules/bios/ldlinux.c32" "$iso/isolinux/"
area() { printf '%s\n%*s' "$default" $((size - ${#default} - 1)) '' | sed '2s/ /#/g'; }
{ printf 'serial 0\nprompt 0\ntimeout 1\ndefault linux\nlabel linux\n  kernel /images/pxeboot/vmlinuz\n'
  printf '  append initrd=/images/pxeboot/initrd.img,/images/ignition.img '; area; printf '\n'; } > "$iso/isolinux/isolinux.cfg"
{ printf 'menuentry "Live system" {\n  linux /images/pxeboot/vmlinuz '; area; printf '\n  initrd /images/pxeboot/initrd.img /images/ignition.img\n}\n'; } > "$iso/EFI/fedora/grub.cfg"
offset() { LC_ALL=C grep -abo "$default" "$1" | cut -d: -f1; }
cat > "$iso/coreos/kargs.json" <<END
{"default": "$default", "size": $size, "files": [
  {"path": "EFI/fedora/grub.cfg", "offset": $(offset "$iso/EFI/fedora/grub.cfg"), "pad": "#", "end": "\n"},
  {"path": "isolinux/isolinux.cfg", "offset": $(offset "$iso/isolinux/isolinux.cfg"), "pad": "#", "end": "\n"}]}
END
echo '{"file": "images/ignition.img"}' > "$iso/coreos/igninfo.json"; echo "$features" > "$iso/coreos/features.json"
mkdir -p "$TREE/media/out"; mount --bind "$WORK" "$TREE/media/out"
chroot "$TREE" genisoimage -quiet -V "$label" -volset "$label" -r -J -joliet-long -b isolinux/isolinux.bin -c isolinux/boot.cat \
  -no-emul-boot -boot-load-size 4 -boot-info-table -o /media/out/live.iso /media/out/iso
mv "$WORK/live.iso" "$OUT/live.iso"; umount "$TREE/media/out"; rm -rf "$WORK"
