#!/usr/bin/env bash
# A real SLURM of a few nodes on this machine, all of it below one folder.
#   tests/slurm/cluster.sh start DIR [NODES]     NODES: 2 to 9, default 3; ends with all nodes idle
#   tests/slurm/cluster.sh kill-node DIR NODE    the node's power is cut: its slurmd and everything that runs on it
#   tests/slurm/cluster.sh start-node DIR NODE   and it comes back
#   tests/slurm/cluster.sh stop DIR              ends every process; the folder stays, for its logs
# Clients need SLURM_CONF=DIR/slurm.conf. Each node is a slurmd in host-name and mount namespaces of its own, with a
# /dev/shm of its own: whatever runs in a node's namespace belongs to it, and a namespace's mounts go with its processes.
# exit code 77: SLURM cannot be started here, and a line SKIP says why.
set -euo pipefail
skip() { echo "SKIP: $*"; exit 77; }
fail() { echo "cluster: $*" >&2; exit 1; }
usage() { sed -n '3,6s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
[[ $# -ge 2 ]] || usage
verb=$1
folder=$2
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
export SLURM_CONF=$folder/slurm.conf
host=$(hostname -s)

install_slurm() {
  command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return
  command -v apt-get >/dev/null || skip "slurmctld, slurmd and munged are not installed, and this is no Debian"
  echo "cluster: installing slurm-wlm munge"
  export DEBIAN_FRONTEND=noninteractive
  local packages=(slurm-wlm slurm-wlm-basic-plugins munge iproute2)
  if ! { apt-get install -y --no-install-recommends "${packages[@]}" ||
         { apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; }; } >"$folder/install.log" 2>&1; then
    skip "the packages ${packages[*]} cannot be installed: $(tail -n 1 "$folder/install.log")"
  fi
}

# The first of COUNT consecutive ports on which nothing listens, below the range from which the kernel takes its own.
free_ports() {
  local count=$1 base port busy
  for _ in {1..50}; do
    base=$((15000 + RANDOM % 15000))
    busy=$(ss -Htan | awk '{ sub(/.*:/, "", $4); print $4 }')
    for ((port = base; port < base + count; ++port)); do grep -qx "$port" <<<"$busy" && continue 2; done
    echo "$base"
    return
  done
  fail "found no $count free ports"
}

write_configuration() {
  local nodes=$1 port
  port=$(free_ports $((nodes + 2)))
  cat >"$SLURM_CONF" <<EOF
ClusterName=eggroll
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool.%n
TmpFS=$folder/tmp.%n
SlurmctldPidFile=$folder/pid/slurmctld
SlurmdPidFile=$folder/pid/%n
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/log/jobs
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=5
SlurmdTimeout=15
InactiveLimit=0
SwitchType=switch/none
NodeName=n[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 2))-$((port + 1 + nodes))] CPUs=4 RealMemory=2000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
}

# In /dev/null's company only: a daemon that kept our output open would keep whoever reads it waiting.
start_node() {
  mkdir -p "$folder/spool.$1" "$folder/tmp.$1"
  # shellcheck disable=SC2016  # expanded by the inner shell
  unshare --mount --uts --propagation private bash -c '
    hostname "$1" && mount -t tmpfs tmpfs /dev/shm && readlink /proc/self/ns/uts >"$2/node/$1" && exec slurmd -N "$1"' \
    - "$1" "$folder" </dev/null >>"$folder/log/start.$1" 2>&1 || return 1
}

processes_on() {
  local namespace process
  namespace=$(cat "$folder/node/$1" 2>/dev/null) || return 0
  for process in /proc/[0-9]*; do
    [[ "$(readlink "$process/ns/uts" 2>/dev/null)" == "$namespace" ]] && echo "${process#/proc/}"
  done
  return 0
}

kill_node() {
  local pids
  for _ in {1..50}; do  # what one process started while the others were being killed
    mapfile -t pids < <(processes_on "$1")
    ((${#pids[@]} > 0)) || { rm -f "$folder/node/$1"; return 0; }
    kill -9 "${pids[@]}" 2>/dev/null || true
    sleep 0.1
  done
  fail "processes of node $1 cannot be killed: ${pids[*]}"
}

stop_daemon() {  # PID FILE, NAME: only where the process is still the one that wrote the file
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  [[ "$(cat "/proc/$pid/comm" 2>/dev/null)" == "$2" ]] || return 0
  kill "$pid" 2>/dev/null || true
  for _ in {1..50}; do [[ -e "/proc/$pid" ]] || return 0; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
}

stop_all() {
  local node
  for node in "$folder"/node/*; do [[ ! -e "$node" ]] || kill_node "${node##*/}"; done
  stop_daemon "$folder/pid/slurmctld" slurmctld
  stop_daemon "$folder/pid/munged" munged
}

start_all() {
  local nodes=$1 number
  [[ "$nodes" =~ ^[2-9]$ ]] || { echo "cluster: NODES = $nodes: allowed are 2 to 9" >&2; exit 2; }
  ((EUID == 0)) || skip "a SLURM with namespaces of its own needs root"
  unshare --mount --uts --propagation private true 2>/dev/null || skip "this machine allows no mount and host-name namespaces"
  install_slurm
  mkdir -p "$folder"/{state,log,pid,node}
  install -d -m 0711 "$folder/munge"
  chmod go-w "$folder"
  trap 'stop_all' EXIT  # what was started does not stay when the rest cannot be
  trap 'exit 130' INT
  trap 'exit 143' TERM
  dd if=/dev/urandom of="$folder/munge/key" bs=128 count=1 status=none
  chmod 0400 "$folder/munge/key"
  timeout 20 munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/pid/munged" \
    --log-file="$folder/log/munged" --seed-file="$folder/munge/seed" --num-threads=1 </dev/null >"$folder/log/start.munged" 2>&1 ||
    skip "munged does not start: $(tail -n 1 "$folder/log/start.munged")"
  write_configuration "$nodes"
  timeout 20 slurmctld -i </dev/null >"$folder/log/start.slurmctld" 2>&1 ||
    skip "slurmctld does not start: $(tail -n 1 "$folder/log/start.slurmctld")"
  for ((number = 1; number <= nodes; ++number)); do
    start_node "n$number" || skip "slurmd of n$number does not start: $(tail -n 1 "$folder/log/start.n$number")"
  done
  for _ in {1..60}; do
    [[ $(timeout 10 sinfo -h -N -t idle -o %N 2>/dev/null | wc -l) -eq $nodes ]] && { trap - EXIT; return 0; }
    sleep 0.5
  done
  skip "the nodes do not become idle within 30 s: $(timeout 10 sinfo -h -N -o '%N %t' 2>&1 | tr '\n' ' ')"
}

case $verb in
  start) start_all "${3:-3}" ;;
  stop) stop_all ;;
  kill-node) [[ $# -eq 3 ]] || usage; kill_node "$3" ;;
  start-node) [[ $# -eq 3 ]] || usage; start_node "$3" || fail "slurmd of $3 does not start" ;;
  *) usage ;;
esac
