#!/usr/bin/env bash
# A real SLURM on this one machine, for tests: slurm_one_node.sh up|down|status
#
# `up` installs Debian's packages where they are missing (root), starts munged, slurmctld and NODES virtual nodes, and
# prints on stdout the line that makes the client commands find it: eval "$(scripts/dev/slurm_one_node.sh up)".
# SLURM_ONE_NODE names the folder of its state (default /tmp/tl_research_slurm), NODES the number of nodes (default 2),
# CPUS the processors that each of them claims to have (default 4, whatever the machine has).
# Exit code 3: it cannot be had here (no root, no packages).
set -euo pipefail
state=${SLURM_ONE_NODE:-/tmp/tl_research_slurm}
nodes=${NODES:-2}
cpus=${CPUS:-4}
conf=$state/slurm.conf

say() { echo "slurm_one_node: $*" >&2; }
cannot() { say "$*"; exit 3; }
answers() { SLURM_CONF=$conf timeout 10 scontrol ping 2>/dev/null | grep -q "is UP"; }
idle_nodes() { SLURM_CONF=$conf sinfo --noheader --Node --states=idle --format=%N 2>/dev/null | sort -u | wc -l; }

install() {
    local missing=()
    for name in slurmctld slurmd srun munged; do
        command -v "$name" >/dev/null || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || cannot "${missing[*]} missing, and no apt-get to install them with"
    say "installing slurmctld slurmd slurm-client munge"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge; } \
        >"$state/install.log" 2>&1 || cannot "the packages cannot be installed: $(tail -n 1 "$state/install.log")"
}

configure() {
    local host i
    host=$(hostname -s)
    mkdir -p "$state"/{munge,ctld,spool,log}
    # munged wants a folder of its own user, and its key readable by nobody else.
    [ -s "$state/munge/key" ] || (umask 077 && head -c 1024 /dev/urandom >"$state/munge/key")
    chmod 400 "$state/munge/key"
    chmod 755 "$state" "$state/munge"
    chown -R munge: "$state/munge"
    # cred_expire is also how long a requeued job waits: 120 s unless it is set.
    cat >"$conf" <<END
ClusterName=onenode
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$state/munge/socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=3600
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,batch_sched_delay=0,bf_interval=5
StateSaveLocation=$state/ctld
SlurmctldPidFile=$state/slurmctld.pid
SlurmctldLogFile=$state/log/slurmctld
SlurmdSpoolDir=$state/spool/%n
SlurmdPidFile=$state/slurmd-%n.pid
SlurmdLogFile=$state/log/slurmd-%n
SlurmdParameters=config_overrides
END
    for ((i = 1; i <= nodes; i++)); do
        mkdir -p "$state/spool/n$i"
        echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((16900 + i)) CPUs=$cpus RealMemory=1000 State=UNKNOWN"
    done >>"$conf"
    echo "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP" >>"$conf"
}

wait_for() { # seconds, then a command
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.2
    done
}

all_idle() { [ "$(idle_nodes)" -eq "$nodes" ]; }

up() {
    if [ -f "$conf" ] && answers; then
        say "already up"
    else
        [ "$(id -u)" -eq 0 ] || cannot "only root can start it"
        mkdir -p "$state"
        install
        configure
        runuser -u munge -- munged --key-file="$state/munge/key" --socket="$state/munge/socket" \
            --pid-file="$state/munge/pid" --log-file="$state/munge/log" --seed-file="$state/munge/seed"
        export SLURM_CONF=$conf
        slurmctld -c -f "$conf"
        for ((i = 1; i <= nodes; i++)); do
            slurmd -f "$conf" -N "n$i"
        done
        wait_for 30 answers || { say "slurmctld does not answer: $(tail -n 1 "$state/log/slurmctld")"; exit 1; }
        wait_for 30 all_idle || { say "nodes do not come up: $(tail -n 1 "$state/log/slurmctld")"; exit 1; }
        say "up: $nodes nodes of $cpus processors, state in $state"
    fi
    echo "export SLURM_CONF=$conf"
}

stop() { # a pid file
    local pid
    [ -s "$1" ] && pid=$(cat "$1") && kill "$pid" 2>/dev/null || return 0
    wait_for 15 gone "$pid" || kill -9 "$pid"
}

gone() { ! kill -0 "$1" 2>/dev/null; }

down() {
    if [ -f "$conf" ]; then
        if answers; then
            SLURM_CONF=$conf scancel --me --signal=KILL --full 2>/dev/null || true
            SLURM_CONF=$conf scancel --me 2>/dev/null || true
            wait_for 15 no_jobs || say "jobs are still there"
        fi
        for file in "$state"/slurmd-*.pid "$state/slurmctld.pid" "$state/munge/pid"; do
            stop "$file"
        done
        rm -rf "$state"
    fi
    say "down"
}

no_jobs() { [ -z "$(SLURM_CONF=$conf squeue --noheader 2>/dev/null)" ]; }

case ${1:-} in
    up) up ;;
    down) down ;;
    status) [ -f "$conf" ] && answers && SLURM_CONF=$conf sinfo --Node && SLURM_CONF=$conf squeue ;;
    *) echo "usage: $0 up|down|status" >&2; exit 2 ;;
esac
