# The lock-out guard of one run on this host. Its folder holds what was there before a change; unless a new connection
# confirms in time, that is put back. State is the name of one file, and whoever renames it has decided:
# armed.N (holds its deadline, seconds of uptime), busy.N (being renewed), firing.N, confirmed.N; put-back at the end.
dir=${0%/*}
id=${dir##*/}
verb=$1
shift

# Seconds of uptime, as $now.
clock() {
  read -r now _ </proc/uptime
  now=${now%.*}
}

log() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >>"$dir/log"; }

# Into the journal: by the unit's output, or from elsewhere.
say() {
  log "$*"
  echo "$*"
}

note() {
  log "$*"
  printf '%s\n' "$*" | systemd-cat -t okd-play-guard 2>/dev/null
}

# How often it was armed, as $n.
generation() {
  n=0
  read -r n 2>/dev/null <"$dir/generation"
}

# Whether a command of the step runs; none is waited for longer than 180 s.
held() {
  clock
  read -r pid since 2>/dev/null <"$dir/held" && [ -e "/proc/$pid" ] && [ $((now - since)) -lt 180 ]
}

expired() {
  until=
  read -r until 2>/dev/null <"$1"
  clock
  [ "$now" -ge "${until:-0}" ] && ! held
}

deadline() {
  clock
  read -r seconds <"$dir/seconds"
  echo $((now + seconds))
}

# Counts from now; fails where nothing is armed any more.
renew() {
  generation
  tries=0
  until mv "$dir/armed.$n" "$dir/busy.$n" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$n" != 0 ] && [ ! -e "$dir/confirmed.$n" ] && [ ! -e "$dir/put-back" ] && [ $tries -lt 20 ] || return 1
    sleep 0.05
  done
  deadline >"$dir/busy.$n"
  mv "$dir/busy.$n" "$dir/armed.$n"
}

gone() {
  echo 'okd-play-guard: this host was put back' >&2
  exit 75
}

if [ "$verb" = during ]; then
  areas=$1
  shift
  renew || gone
  for area in $areas; do : >"$dir/$area/told"; done
  clock
  echo "$$ $now" >"$dir/held"
  case $1 in
    */*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null ;;
  esac || {
    rm -f "$dir/held"
    printf '%s: command not found\n' "$1" >&2
    exit 127
  }
  # A program, whatever functions are called here.
  (exec "$@")
  status=$?
  rm -f "$dir/held"
  renew || gone
  exit $status
fi

umask 077
LC_ALL=C
export LC_ALL

is_there() { [ -e "$1" ] || [ -L "$1" ]; }

durable() { sync -- "$@" 2>/dev/null || sync; }

# keep HOW FOLDER WHAT: what is at a path as it is now, once. `file` follows links, `tree` takes all that is in a folder,
# `this` of a folder its mode and owner.
keep() {
  how=$1 d=$2 p=$3
  case $how in
    sysctl)
      grep -q "^$p=" "$d/sysctl" 2>/dev/null || printf '%s=%s\n' "$p" "$(sysctl -n "$p" 2>/dev/null)" >>"$d/sysctl"
      return ;;
    device)
      [ -e "/sys/class/net/$p" ] || grep -q "^$p " "$d/links" 2>/dev/null || grep -qx "$p" "$d/devices" 2>/dev/null || echo "$p" >>"$d/devices"
      return ;;
    file) p=$(readlink -f -- "$p" || printf '%s' "$p") ;;
  esac
  [ "$(printf '%s' "$p" | wc -l)" = 0 ] || return 1
  ! grep -qxF -- "$p" "$d/absent" 2>/dev/null || return 0
  while read -r tree; do
    case $p/ in "$tree"/*) return 0 ;; esac
  done 2>/dev/null <"$d/whole"
  if ! is_there "$p"; then
    printf '%s\n' "$p" >>"$d/absent"
  elif [ -d "$p" ] && [ ! -L "$p" ] && [ "$how" != tree ]; then
    grep -q " $p\$" "$d/modes" 2>/dev/null || stat -c '%a %u:%g %n' -- "$p" >>"$d/modes"
  elif ! is_there "$d/was$p"; then
    [ "$(du -skx -- "$p" | cut -f1)" -le 65536 ] || return 1
    rm -rf "$d/part"
    mkdir -p "$d/was${p%/*}" && cp -a -- "$p" "$d/part" && mv "$d/part" "$d/was$p" || return 1
    [ "$how" != tree ] || [ ! -d "$p" ] || printf '%s\n' "$p" >>"$d/whole"
    [ ! -f "$d/was$p" ] || durable "$d/was$p"
  fi
  durable "$d"
}

# Name, activity and enablement of those units that there are.
units() {
  { systemctl show -p Id -p LoadState -p ActiveState -p UnitFileState -- "$@" 2>/dev/null; echo; } |
    while IFS='=' read -r key value; do
      case $key in
        Id) unit=$value ;;
        LoadState) load=$value ;;
        ActiveState) active=$value ;;
        UnitFileState) file=${value:--} ;;
        '') [ "${load:-not-found}" = not-found ] || echo "$unit $active $file"; load= ;;
      esac
    done | sort -u
}

tables() {
  mkdir -p "$1"
  nft list tables 2>/dev/null | while read -r _ family name; do
    nft -s list table "$family" "$name" >"$1/$family.$name" 2>/dev/null
  done
}

# Name, bridge, MTU and activity of interfaces.
links() {
  ip -o link show 2>/dev/null | while read -r _ name flags rest; do
    name=${name%:} master=- mtu=- active=down
    case $flags in *[\<,]UP[,\>]*) active=up ;; esac
    set -- $rest
    while [ $# -gt 1 ]; do
      case $1 in mtu) mtu=$2 ;; master) master=$2 ;; esac
      shift
    done
    echo "${name%%@*} $master $mtu $active"
  done
}

addresses() {
  ip -o addr show scope global 2>/dev/null | while read -r _ name _ address word value _; do
    case $word in
      peer) ;;
      brd) echo "$name $address brd $value" ;;
      *) echo "$name $address" ;;
    esac
  done
}

routes() {
  ip -o "$1" route show 2>/dev/null | grep -v 'proto kernel' |
    sed 's/\\/ /g; s/ expires [0-9a-z]*//; s/ linkdown//g; s/ dead//g; s/[ \t]*$//'
}

# Everything of an area that a change may touch.
snapshot() {
  rm -rf "$dir/part.$1"
  d=$dir/part.$1
  mkdir -p "$d/was" || return 1
  case $1 in
    ssh)
      trees='/etc/ssh'
      names='ssh.socket sshd.socket ssh.service sshd.service' ;;
    firewall)
      trees='/etc/firewalld /etc/nftables /etc/nftables.conf /etc/sysconfig/nftables.conf /etc/iptables /etc/sysconfig/iptables /etc/ufw'
      names='firewalld.service nftables.service iptables.service ip6tables.service netfilter-persistent.service ufw.service' ;;
    network)
      trees='/etc/NetworkManager/system-connections /etc/NetworkManager/dispatcher.d /etc/systemd/network /etc/network /etc/netplan /etc/sysconfig/network-scripts'
      names='NetworkManager.service systemd-networkd.service networking.service' ;;
    *) trees= names= ;;
  esac
  for tree in $trees; do keep tree "$d" "$tree" || return 1; done
  [ -z "$names" ] || units $names >"$d/units"
  case $1 in
    firewall) tables "$d/tables" ;;
    network)
      links >"$d/links"
      addresses >"$d/addresses"
      routes -4 >"$d/routes4"
      routes -6 >"$d/routes6"
      nmcli -t -f UUID,DEVICE,FILENAME connection show --active >"$d/connections" 2>/dev/null ;;
  esac
  durable "$d" && mv "$d" "$dir/$1"
}

arm() {
  echo "$1" >"$dir/seconds"
  shift
  generation
  [ ! -e "$dir/put-back" ] && [ ! -e "$dir/firing.$n" ] || gone
  for area; do
    [ -d "$dir/$area" ] || snapshot "$area" || { echo 'what is there now cannot be kept'; exit 4; }
  done
  if ! renew || ! systemctl -q is-active "okd-play-guard-$id-$n.service"; then
    find "${dir%/*}" -mindepth 1 -maxdepth 1 -mtime +7 -exec rm -rf {} +
    rm -f "$dir/armed.$n"
    n=$((n + 1))
    echo "$*" | tr ' ' '\n' >"$dir/areas.$n"
    deadline >"$dir/armed.$n"
    echo $n >"$dir/generation"
    durable "$dir"
    systemd-run --quiet --collect --unit="okd-play-guard-$id-$n" --description='okd-play lock-out guard' \
      --property=SyslogIdentifier=okd-play-guard --property=Restart=on-failure --property=OOMScoreAdjust=-900 \
      --setenv="PATH=$PATH" /bin/sh "$0" watch $n 2>&1 || { rm -f "$dir/armed.$n"; exit 4; }
  fi
  for area; do grep -qx "$area" "$dir/areas.$n" || echo "$area" >>"$dir/areas.$n"; done
}

# put WAS COPY: a file as it was; extra WAS PATH: away with what was not there.
put() {
  p=${2#"$1"}
  if is_there "$p" && [ "$(stat -c '%a %u:%g %F' -- "$p")" = "$(stat -c '%a %u:%g %F' -- "$2")" ]; then
    if [ -L "$p" ]; then
      [ "$(readlink -- "$p")" != "$(readlink -- "$2")" ] || return 0
    else
      ! cmp -s -- "$p" "$2" || return 0
    fi
  fi
  fresh=${p%/*}/.okd-play-guard.$$
  mkdir -p "${p%/*}" && rm -rf "$fresh" && cp -a -- "$2" "$fresh" && mv -fT -- "$fresh" "$p" || {
    say "failed: $p could not be put back"
    return
  }
  say "put back $p"
  printf '%s\n' "$p" >>"$dir/changed"
}

extra() {
  is_there "$1$2" && return
  if [ -d "$2" ] && [ ! -L "$2" ]; then rmdir -- "$2" 2>/dev/null; else rm -f -- "$2"; fi || return
  say "removed $2"
  printf '%s\n' "$2" >>"$dir/changed"
}

files() {
  d=$dir/$1
  tac "$d/absent" 2>/dev/null | while IFS= read -r p; do ! is_there "$p" || extra "$d/none" "$p"; done
  while IFS= read -r p; do
    find "$p" -depth -exec /bin/sh "$0" extra "$d/was" {} \;
  done 2>/dev/null <"$d/whole"
  find "$d/was" ! -type d -exec /bin/sh "$0" put "$d/was" {} \;
  while IFS=' ' read -r mode owner p; do
    chown -h "$owner" "$p" && chmod "$mode" "$p"
  done 2>/dev/null <"$d/modes"
}

try() {
  if words=$(timeout 60 "$@" 2>&1 </dev/null); then
    say "did: $*"
  else
    say "failed: $*: $(printf '%s' "$words" | tail -n 1)"
    return 1
  fi
}

# Units as they were; `restart` starts those anew that run.
units_back() {
  while read -r unit active file; do
    is=$(systemctl is-enabled "$unit" 2>/dev/null)
    if [ "$is" != "$file" ]; then
      [ "$is" != masked ] || try systemctl unmask "$unit"
      case $file in
        enabled) try systemctl enable "$unit" ;;
        disabled) try systemctl disable "$unit" ;;
        masked) try systemctl mask "$unit" ;;
      esac
    fi
    case $active in
      active | activating | reloading)
        [ "$2" != restart ] && systemctl -q is-active "$unit" && continue
        systemctl reset-failed "$unit" 2>/dev/null
        try systemctl restart "$unit" ;;
      *) ! systemctl -q is-active "$unit" || try systemctl stop "$unit" ;;
    esac
  done <"$1"
}

back_ssh() { units_back "$dir/ssh/units" restart; }

back_firewall() {
  d=$dir/firewall
  units_back "$d/units" keep
  if grep -q '^firewalld.service active' "$d/units"; then
    try firewall-cmd --reload || try systemctl restart firewalld.service
  fi
  rm -rf "$d/now"
  tables "$d/now"
  for was in "$d/tables"/*; do
    name=${was##*/}
    [ -e "$was" ] && ! cmp -s "$was" "$d/now/$name" || continue
    table="${name%%.*} ${name#*.}"
    { printf 'table %s\ndelete table %s\n' "$table" "$table"; cat "$was"; } >"$d/load"
    try nft -f "$d/load"
  done
  for is in "$d/now"/*; do
    name=${is##*/}
    [ ! -e "$is" ] || [ -e "$d/tables/$name" ] || try nft delete table "${name%%.*}" "${name#*.}"
  done
}

# The program that owns the network first; then what the kernel lacks of what it had.
back_network() {
  d=$dir/network
  while IFS='=' read -r name value; do try sysctl -w "$name=$value"; done 2>/dev/null <"$d/sysctl"
  while read -r name; do
    [ ! -e "/sys/class/net/$name" ] || try ip link delete "$name"
  done 2>/dev/null <"$d/devices"
  units_back "$d/units" keep
  if grep -q '^NetworkManager.service active' "$d/units"; then
    try nmcli connection reload
    while IFS=: read -r uuid _ file; do
      active=$(nmcli -t -f UUID connection show --active 2>/dev/null)
      case $active in
        *"$uuid"*) grep -qxF -- "$file" "$dir/changed" || continue ;;
      esac
      try nmcli -w 20 connection up uuid "$uuid"
    done <"$d/connections"
  fi
  if grep -q '^systemd-networkd.service active' "$d/units"; then try networkctl reload; fi
  if grep -q '^/etc/netplan' "$dir/changed" && command -v netplan >/dev/null; then try netplan apply; fi
  if grep -q '^/etc/network' "$dir/changed" && command -v ifreload >/dev/null; then
    mkdir -p /run/network
    try ifreload -a
  fi
  while read -r name master mtu active; do
    is=$(links | grep "^$name ") || continue
    set -- $is
    if [ "$2" != "$master" ]; then
      if [ "$master" = - ]; then try ip link set dev "$name" nomaster; else try ip link set dev "$name" master "$master"; fi
    fi
    [ "$3" = "$mtu" ] || try ip link set dev "$name" mtu "$mtu"
    [ "$4" = "$active" ] || [ "$active" = down ] || try ip link set dev "$name" up
  done <"$d/links"
  addresses >"$d/now"
  while read -r name address; do
    grep -qxF "$name $address" "$d/now" || try ip addr add $address dev "$name"
  done <"$d/addresses"
  for version in 4 6; do
    routes -$version >"$d/now"
    while IFS= read -r route; do
      case $route in *'proto dhcp'* | *'proto ra'*) continue ;; esac
      grep -qxF -- "$route" "$d/routes$version" || try ip -$version route delete $route
    done <"$d/now"
    while IFS= read -r route; do
      grep -qxF -- "$route" "$d/now" || try ip -$version route replace $route
    done <"$d/routes$version"
  done
}

back_login() { :; }

put_back() {
  say "no new connection has confirmed: the old state of $(tr '\n' ' ' <"$dir/areas.$1")is put back"
  : >"$dir/changed"
  while read -r area; do files "$area"; done <"$dir/areas.$1"
  sync
  systemctl daemon-reload
  for area in login firewall network ssh; do
    ! grep -qx $area "$dir/areas.$1" || back_$area
  done
  say 'the old state is back'
  date +%H:%M:%S >"$dir/part" && mv "$dir/part" "$dir/put-back" && rm -f "$dir/firing.$1"
  durable "$dir"
}

watch() {
  say "unless a new connection confirms within $(cat "$dir/seconds") s, the old state is put back"
  stuck=0
  while [ ! -e "$dir/firing.$1" ]; do
    if [ -e "$dir/armed.$1" ]; then
      stuck=0
      if expired "$dir/armed.$1" && mv "$dir/armed.$1" "$dir/firing.$1" 2>/dev/null; then
        expired "$dir/firing.$1" && break
        mv "$dir/firing.$1" "$dir/armed.$1"
      fi
    elif [ -e "$dir/busy.$1" ]; then
      # Whoever renewed it died in between.
      stuck=$((stuck + 1))
      [ $stuck -lt 50 ] || mv "$dir/busy.$1" "$dir/firing.$1" 2>/dev/null
    elif [ -e "$dir/confirmed.$1" ] || [ -e "$dir/put-back" ] || [ ! -d "$dir" ]; then
      exit 0
    fi
    sleep 0.2
  done
  put_back "$1"
  exit 0
}

confirm() {
  generation
  tries=0
  while :; do
    if [ -e "$dir/put-back" ]; then
      echo "okd-play-guard:put-back $(cat "$dir/put-back")"
      cat "$dir/log"
      return
    fi
    if held; then
      echo okd-play-guard:busy
      return
    fi
    if mv "$dir/armed.$n" "$dir/confirmed.$n" 2>/dev/null; then
      note "confirmed by a new connection${SSH_CONNECTION:+ from ${SSH_CONNECTION%% *}}: the change stays"
      while read -r area; do
        # A file that nothing has read yet may still do harm: what was there before is kept.
        [ "$area" != login ] && [ ! -e "$dir/$area/told" ] || rm -rf "${dir:?}/$area"
      done <"$dir/areas.$n"
    fi
    if [ -e "$dir/confirmed.$n" ]; then
      echo okd-play-guard:confirmed
      return
    fi
    if [ -e "$dir/firing.$n" ]; then
      echo okd-play-guard:firing
      return
    fi
    tries=$((tries + 1))
    if [ "$n" = 0 ] || [ $tries -ge 40 ]; then
      echo okd-play-guard:none
      return
    fi
    sleep 0.05
  done
}

# The run is over: what is confirmed needs no keeping.
end() {
  generation
  [ -e "$dir/armed.$n" ] || [ -e "$dir/busy.$n" ] || [ -e "$dir/firing.$n" ] || [ -e "$dir/put-back" ] || rm -rf "$dir"
}

case $verb in
  arm | watch | confirm | end | put | extra) "$verb" "$@" ;;
  renewed) renew || gone ;;
  keep)
    renew || gone
    how=$1 area=$2
    shift 2
    for path; do keep "$how" "$dir/$area" "$path" || { echo "$path cannot be kept"; exit 4; }; done ;;
esac
