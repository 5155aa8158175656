#!/usr/bin/env bash
# Hosts h1, h2, ... on this machine: network namespaces joined by a bridge, 10.77.0.1, 10.77.0.2, ... NAME, at most 8 letters
# and digits, keeps networks apart; the bridges have no address, so that two networks never see each other.
#   tests/hosts/network.sh up NAME HOSTS           2 to 9 hosts; exit code 77 where that cannot be done
#   tests/hosts/network.sh down NAME               ends what runs on the hosts and takes everything away
#   tests/hosts/network.sh cut NAME HOST           pulls the cable of a host (3, say)
#   tests/hosts/network.sh join NAME HOST          and puts it back
#   tests/hosts/network.sh lose NAME HOST SHARE    loses this share of what comes in, 0.01 say
#   tests/hosts/network.sh slow NAME HOST RATE     what goes to the host passes at 10mbit, say
#   tests/hosts/network.sh delay NAME HOST MS      every frame of the host takes so much longer, each way
# What lose, slow and delay do lasts until down. Programs are started on a host by tests/hosts/on_host.
set -euo pipefail
usage() { sed -n '4,10s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
skip() { echo "SKIP: $*"; exit 77; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ $# -ge 2 && "$2" =~ ^[a-z0-9]{1,8}$ ]] || usage
verb=$1
name=$2
host=${3:-}
namespace=${name}h$host  # of a host
cable=${name}c$host      # the bridge's end of its cable
[[ $verb == down || "$host" =~ ^[1-9]$ ]] || usage

down() {
  local link process
  for link in $(ip netns list | awk -v name="$name" '$1 ~ "^" name "h[1-9]$" { print $1 }'); do
    for _ in {1..20}; do
      process=$(ip netns pids "$link")
      [[ -n "$process" ]] || break
      # shellcheck disable=SC2086
      kill -9 $process 2>/dev/null || true
      sleep 0.1
    done
    ip netns del "$link"
  done
  for link in $(ip -o link show | awk -F': ' -v name="$name" '{ sub(/@.*/, "", $2) } $2 ~ "^" name "(b|c[1-9]|d[1-9]|x[1-9]|y[1-9])$" { print $2 }'); do
    ip link del "$link" 2>/dev/null || true  # the end of a pair goes with the other; a relay ends when its devices go
  done
}

up() {
  ((EUID == 0)) || skip "network namespaces need root"
  command -v ip >/dev/null || skip "the package iproute2 is not installed"
  ! ip netns list | grep -q "^${name}h[1-9]" || { echo "network: $name is there already" >&2; exit 1; }
  trap down EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  local number
  ip link add "${name}b" type bridge 2>/dev/null || skip "this machine makes no bridges"
  ip link set "${name}b" up
  for ((number = 1; number <= host; ++number)); do
    ip netns add "${name}h$number" 2>/dev/null || skip "this machine makes no network namespaces"
    ip link add "${name}c$number" type veth peer name eth0 netns "${name}h$number" || skip "this machine makes no veth pairs"
    ip link set "${name}c$number" master "${name}b" up
    ip -n "${name}h$number" addr add "10.77.0.$number/24" dev eth0
    ip -n "${name}h$number" link set eth0 up
    ip -n "${name}h$number" link set lo up
  done
  trap - EXIT
}

# The cable goes to a bridge of its own, and a program carries the frames between the two bridges.
delay() {
  ip link add "${name}d$host" type bridge
  ip link set "${name}d$host" up
  python3 "$here/delay.py" "${name}x$host" "${name}y$host" "$1" </dev/null >/dev/null 2>&1 &
  for _ in {1..50}; do
    ip link show "${name}y$host" >/dev/null 2>&1 && break
    sleep 0.1
  done
  ip link set "${name}x$host" master "${name}b" up
  ip link set "${name}y$host" master "${name}d$host" up
  ip link set "$cable" master "${name}d$host"
}

case $verb in
  up) up ;;
  down) down ;;
  cut) ip link set "$cable" down ;;
  join) ip link set "$cable" up ;;
  lose) [[ $# -eq 4 ]] || usage; ip netns exec "$namespace" iptables -A INPUT -m statistic --mode random --probability "$4" -j DROP ;;
  slow) [[ $# -eq 4 ]] || usage; tc qdisc add dev "$cable" root tbf rate "$4" burst 32kbit latency 50ms ;;
  delay) [[ $# -eq 4 ]] || usage; delay "$4" ;;
  *) usage ;;
esac
