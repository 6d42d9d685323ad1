# What demo-site stands on: a lab with a bare hypervisor and a mirror, okd-play on a control node of its own. To be sourced
# first, with the words that the script was given.
#
# Proxmox VE, openshift-install and the cluster's API are stand-ins of the project's; the services host is a lab host, and the
# machines are emulated ones that boot, install themselves and join by what okd-play made. $OKD_PLAY names the program,
# $OKD_STAND_INS the folder of the stand-ins.
cd "$(dirname "$(readlink -f "$0")")/.."
[ $EUID = 0 ] || exec sudo --preserve-env=OKD_PLAY,OKD_STAND_INS,OKD_LAB_NAME,OKD_LAB_STATE,OKD_LAB_CACHE,OKD_DEMO_KEEP,OKD_DEMO_BOOT,NO_COLOR "$0" "$@"
me=$(basename "$0")
OKD_PLAY=$(readlink -f "${OKD_PLAY:-target/release/okd-play}")
stand_ins=$(readlink -f "${OKD_STAND_INS:-target/debug}")
export OKD_LAB_NAME=${OKD_LAB_NAME:-$me} OKD_LAB_STAND_IN=10.0.0.254:6443:22623
began=$SECONDS failed=0 inventory=inventory/site work=$(mktemp -d) way=${OKD_DEMO_BOOT:-iso}
bold='' red='' green='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'; fi

lab() { tests/lab/lab "$@"; }
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
check() { # check WHAT COMMAND... : its words are shown when it fails
  local what=$1 out; shift
  if out=$("$@" 2>&1 </dev/null); then printf '  %sok%s      %s\n' "$green" "$plain" "$what"
  else printf '  %sFAILED%s  %s\n' "$red" "$plain" "$what"; tail -n 30 <<<"$out" | sed 's/^/          /'; failed=1; fi
}
give_up() { echo "$me: $*" >&2; for log in "$work"/*.log; do echo "-- $log"; tail -n 20 "$log" | cut -c1-300; done >&2; exit 1; }
same() { [ "$1" = "$2" ] || { echo "wanted: $1"; echo "got:    $2"; return 1; }; }
soon() { local try; for try in {1..240}; do "$@" >/dev/null 2>&1 && return 0; sleep 0.25; done; "$@"; }
asked() { # asked PLAYBOOK [OPTION...] : sets $words to the command that runs it, with the work folder as home
  local playbook=$1; shift
  words=(env HOME="$work" "$OKD_PLAY" run "playbooks/$playbook.yaml" -i "$inventory" -e "@$work/site.yaml" --private-key "$work/id"
    --ssh-common-args "-o UserKnownHostsFile=$work/.ssh/known_hosts" "$@")
}
run() { # run PLAYBOOK [OPTION...]
  asked "$@"; lab exec "${words[@]}"; }
exec_in_lab() { # in the background, so that the job is the program itself
  exec tests/lab/lab exec "$@"; }
finish() { kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; [ -n "${OKD_DEMO_KEEP:-}" ] || lab down; rm -rf "$work"; }

site_up() { # the lab, and all that a run asks besides
  tests/lab/lab prepare || give_up "the lab cannot be prepared"
  lab up || give_up "the lab does not come up"
  trap finish EXIT
  mkdir -p "$work/.ssh"; : >"$work/pve.log"
  exec_in_lab "$stand_ins/pve-stand-in" --state "$work/pve" --listen 127.0.0.1:8006 --hook "$stand_ins/pve-hook" >"$work/pve.log" 2>&1 &
  soon test -s "$work/pve/vars.yaml" || give_up "the stand-in of Proxmox VE does not start"
  lab host mirror vmbr0 10.213.0.5/24 client --off || give_up "no mirror"

  # What would be downloaded from the project's and the distribution's sites.
  local mirror; mirror=$(lab disk mirror)/srv/mirror; mkdir -p "$mirror"
  served() { echo "url: \"http://10.213.0.5/$1\", checksum: \"sha256:$(sha256sum <"$mirror/$1" | cut -d' ' -f1)\""; }
  cp "$(lab media)"/{live.iso,vmlinuz,initrd.img,rootfs.img} "$mirror"
  head -c 1M /dev/zero >"$mirror/el9.qcow2"
  mkdir "$work/release"; cp "$stand_ins/openshift-install-stand-in" "$work/release/openshift-install"
  printf '\nlive: http://10.213.0.5/live.iso %s\n' "$(sha256sum <"$mirror/live.iso" | cut -d' ' -f1)" >>"$work/release/openshift-install"
  printf '#!/bin/sh\n[ "$*" = "version --client" ] && echo "Client Version: 4.19.0-okd-scos.1" && echo "Kustomize Version: v5.4.2"\n' >"$work/release/oc"
  chmod 755 "$work/release/oc"; ln "$work/release/oc" "$work/release/kubectl"; echo "A release of the lab." >"$work/release/README.md"
  tar -C "$work/release" -czf "$mirror/openshift-install-linux.tar.gz" README.md openshift-install
  tar -C "$work/release" -czf "$mirror/openshift-client-linux.tar.gz" README.md oc kubectl
  lab start mirror && lab run mirror systemd-run -q --unit=mirror python3 -m http.server -d /srv/mirror -b 10.213.0.5 80 || give_up "the mirror does not serve"
  ssh-keygen -q -t ed25519 -N '' -C demo -f "$work/id"
  cat >"$work/site.yaml" <<END
proxmox: {api_host: 127.0.0.1, api_user: "okd@pve", api_token_id: play, api_token_secret: $(cat "$work/pve/token"), ca_path: $work/pve/ca.pem}
images:
  services: {$(served el9.qcow2)}
  coreos: {$(case $way in
    pxe) echo "pxe: {kernel: {$(served vmlinuz)}, initramfs: {$(served initrd.img)}, rootfs: {$(served rootfs.img)}}" ;;
    *) served live.iso ;; esac)}
boot_way: $way
release_tools:
  - {program: oc, $(served openshift-client-linux.tar.gz)}
  - {program: openshift-install, $(served openshift-install-linux.tar.gz)}
okd_ssh_key: "$(cat "$work/id.pub")"
okd_pull_secret: '{"auths":{"fake":{"auth":"aWQ6cGFzcwo="}}}'
END

  # The cluster stands behind the machines' relays, with the keys of the Ignition files, as soon as those are published.
  exec_in_lab bash -c 'until ip link show br-vmbr1 >/dev/null 2>&1; do sleep 0.2; done; ip addr replace 10.0.0.254/24 dev br-vmbr1
    exec "$0" --domain okd.example.org --api 10.0.0.254:6443 --mcs 10.0.0.254:22623 --api-after-bootstrap --forever \
      --ignition http://10.0.0.1:8080/okd4/bootstrap.ign' "$stand_ins/cluster-stand-in" >"$work/cluster.log" 2>&1 &
}
