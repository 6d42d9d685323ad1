# What demo-site and kill-site stand on: a lab with a bare hypervisor and a mirror, okd-play on a control node of its own, and what
# a whole site looks like, to be compared with another. To be sourced first, with the words that the script was given.
#
# Proxmox VE, openshift-install and the cluster's API are stand-ins of the project's; the services host is a lab host, and the
# machines are emulated ones that boot, install themselves and join by what okd-play made. $OKD_PLAY names the program,
# $OKD_STAND_INS the folder of the stand-ins.
cd "$(dirname "$(readlink -f "$0")")/.."
[ $EUID = 0 ] || exec sudo --preserve-env=OKD_PLAY,OKD_STAND_INS,OKD_LAB_NAME,OKD_LAB_STATE,OKD_LAB_CACHE,OKD_DEMO_KEEP,OKD_DEMO_BOOT,OKD_SITE_STATE,NO_COLOR "$0" "$@"
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
  tar -C "$work/release" --mtime=@0 -czf "$mirror/openshift-install-linux.tar.gz" README.md openshift-install
  tar -C "$work/release" --mtime=@0 -czf "$mirror/openshift-client-linux.tar.gz" README.md oc kubectl
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
htpasswd: "guest:{SHA}NWdeaPS1r3uZXZIFrQ/EOELxZFA="
END

  # What an earlier try has left: a medium of other Ignition files, here and at the hypervisor.
  local old=okd.example.org-master-000000000000.iso
  mkdir -p "$work/.okd-play/okd.example.org" "$work/pve/local/template/iso"
  echo old | tee "$work/.okd-play/okd.example.org/$old" >"$work/pve/local/template/iso/$old"

  # The cluster stands behind the machines' relays, with the keys of the Ignition files, as soon as those are published.
  exec_in_lab bash -c 'until ip link show br-vmbr1 >/dev/null 2>&1; do sleep 0.2; done; ip addr replace 10.0.0.254/24 dev br-vmbr1
    exec "$0" --domain okd.example.org --api 10.0.0.254:6443 --mcs 10.0.0.254:22623 --api-after-bootstrap --forever \
      --ignition http://10.0.0.1:8080/okd4/bootstrap.ign --hold "$1"' "$stand_ins/cluster-stand-in" "$work/unsettled" >"$work/cluster.log" 2>&1 &
}

verified() { # the site's questions, asked by the services host, by a machine beside the cluster's and by a visitor
  local prober end=0
  lab host inside vmbr1 10.0.0.9/24 client --gateway 10.0.0.1 && lab host outside vmbr0 10.213.0.31/24 client || give_up "nobody to ask"
  for prober in inside outside; do
    lab run $prober sh -c 'cat >>/root/.ssh/authorized_keys' <"$work/id.pub"
    lab hostkey $prober >>"$work/.ssh/known_hosts"
  done
  run verify --yes -e cluster_up=true || end=1
  for prober in inside outside; do lab destroy $prober; done
  return $end
}

# --- what a whole site looks like, in lines that another one of the same description has too
apart=( # what is not the same on two services hosts of one description
  run tmp var/tmp var/cache var/log                                      # comes and goes
  var/lib/rpm usr/lib/sysimage/rpm var/lib/dnf                           # when packages were installed
  var/lib/systemd var/lib/private var/lib/chrony var/lib/dhcpd var/lib/haproxy var/named/data var/named/dynamic # what services keep for themselves
  'etc/ssh/ssh_host_*' etc/machine-id etc/rndc.key var/lib/cloud root    # made by chance, and who may log in
  'etc/*shadow*' 'etc/*-'                                                # on which day; what was before
  '*/gconv-modules.cache'                                                # in which order packages came
  var/lib/okd-play                                                       # which build and run; what is owed and managed is told below
  var/lib/okd/install                                                    # keys; names and modes are told below
)
site_state() {
  lab run mirror python3 -c '
import collections, json, re, sys
state = json.load(sys.stdin)
tasks = collections.Counter(":".join(task["upid"].split(":")[5:7]) for task in state["tasks"])
for task, count in sorted(tasks.items()): print("proxmox task", task, count)
for vmid, guest in sorted(state["guests"].items()):
    print("proxmox machine", vmid, "running" if guest["running"] else "stopped", "pending", sorted(guest["pending"]))
    for name, value in sorted(guest["config"].items()):
        if name not in ("digest", "meta", "vmgenid", "smbios1"):
            print("proxmox machine", vmid, name, re.sub(r"-[0-9a-f]{12}[.]iso", "-SUM.iso", str(value)))
print("proxmox network", json.dumps([state["net"][key] for key in ("active", "staged", "up")], sort_keys=True))
print("proxmox sdn", json.dumps(state["sdn"], sort_keys=True))
' <"$work/pve/state.json"
  find "$work/pve/local" -type f ! -name '*.raw' -printf 'proxmox file %P %s\n' -o -name '*.raw' -printf 'proxmox disk %P\n' |
    sed -E 's/-[0-9a-f]{12}\.iso/-SUM.iso/' | sort
  # What is on the services host besides the base that it was made of.
  local skip=() path
  for path in "${apart[@]}"; do skip+=(-path "./$path" -prune -o); done
  (cd "$(lab disk services)" && find . "${skip[@]}" \( -type f -o -type l \) -print0) |
    lab run services sh -c 'cd / && xargs -0 -n 1 sh -c '\''[ -e "$0" ] || [ -h "$0" ] || exit 0; printf "services file %s %s %s\n" "$0" "$(stat -c "%F %a %U:%G" "$0")" "$(if [ -h "$0" ]; then readlink "$0"; else sha256sum <"$0" | cut -d" " -f1; fi)"'\''' | sort
  lab run services sh -c '
    ls -A /var/lib/okd/install | sed "s/^/services generations /"
    find /var/lib/okd/install/current/ -printf "services generation %P %M\n" | sort
    find /var/www -printf "services web %P %M %U\n" | sort
    systemctl list-unit-files --no-legend --no-pager | awk "{ print \"services unit\", \$1, \$2 }" | sort
    for unit in chronyd dhcpd firewalld haproxy named nginx; do echo "services runs $unit $(systemctl is-active $unit)"; done
    for how in "" --permanent; do
      for zone in internal external; do firewall-cmd $how --zone=$zone --list-all | sed "s/^/services firewall $how /"; done
      firewall-cmd $how --info-policy=internal-external | sed "s/^/services firewall $how /"
    done
    systemctl list-units --plain --no-legend "okd-play*" | sed "s/^/services watched by /"
    cat /var/lib/okd-play/ledger/owed-* /var/lib/okd-play/owed/* 2>/dev/null | sed "s/^/services owes /"
    awk -F "\t" "NF > 6 { print \"services manages\", \$1, \$2, \$5 }" /var/lib/okd-play/ledger/things | sort
    echo "services forwards $(cat /proc/sys/net/ipv4/ip_forward)"
    echo "services name $(hostname)"'
  cluster_state
}
cluster_state() { # what the cluster itself says, asked with the key that the installation made
  lab run services python3 -c '
import base64, collections, json, re, ssl, tempfile, urllib.request
text = open("/var/lib/okd/install/current/auth/kubeconfig").read()
def file(name):
    kept = tempfile.NamedTemporaryFile()
    kept.write(base64.b64decode(re.search(name + ": *(\\S+)", text)[1])); kept.flush()
    return kept
authority, cert, key = map(file, ("certificate-authority-data", "client-certificate-data", "client-key-data"))
context = ssl.create_default_context(cafile=authority.name); context.check_hostname = False
context.load_cert_chain(cert.name, key.name)
def get(path): return json.load(urllib.request.urlopen("https://10.0.0.1:6443" + path, context=context, timeout=10))
def conditions(item): return {one["type"]: one["status"] for one in item["status"].get("conditions", [])}
for node in sorted(get("/api/v1/nodes")["items"], key=lambda node: node["metadata"]["name"]):
    print("cluster node", node["metadata"]["name"], conditions(node).get("Ready"))
requests = get("/apis/certificates.k8s.io/v1/certificatesigningrequests")["items"]
told = collections.Counter((item["spec"]["signerName"], item["spec"]["username"], *sorted(conditions(item))) for item in requests)
for words, count in sorted(told.items()): print("cluster request", *words, count)
version = get("/apis/config.openshift.io/v1/clusterversions/version")
print("cluster version", {name: value for name, value in conditions(version).items()})
for kind in ("apis/config.openshift.io/v1/oauths/cluster", "api/v1/namespaces/openshift-config/secrets/htpass-secret",
             "apis/imageregistry.operator.openshift.io/v1/configs/cluster"):
    try: print("cluster", kind, json.dumps({key: value for key, value in get("/" + kind).items() if key in ("spec", "data", "type")}, sort_keys=True))
    except urllib.error.HTTPError as error: print("cluster", kind, error.code)
'
}
