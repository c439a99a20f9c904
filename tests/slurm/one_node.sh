#!/bin/bash
# A real Slurm on this one machine, for tests: partitions `cpu` and `gpu`, and one GPU that is a character device.
#   one_node.sh start | stop | why-not
# Needs root and Debian's packages slurm-wlm and munge. Everything of it lies in /run/one-node-slurm, but for the two
# files that Slurm reads inside jobs, /etc/slurm/{slurm,gres}.conf; configuration that is not its own is left alone.
set -euo pipefail

home=/run/one-node-slurm
mark="# written by one_node.sh"

why_not() {
    [ "$(id -u)" = 0 ] || { echo "not root"; return; }
    for tool in munged slurmctld slurmd sbatch mknod runuser; do
        command -v "$tool" >/dev/null || { echo "$tool is not installed (Debian: slurm-wlm, munge)"; return; }
    done
    for file in /etc/slurm/slurm.conf /etc/slurm/gres.conf; do
        if [ -e "$file" ] && ! grep -q "$mark" "$file"; then echo "$file belongs to another cluster"; return; fi
    done
}

start() {
    reason=$(why_not)
    [ -z "$reason" ] || { echo "$reason" >&2; exit 1; }
    stop
    mkdir -p $home/state $home/spool /etc/slurm /run/munge
    [ -c $home/gpu0 ] || mknod $home/gpu0 c 1 3  # the null device under another name: Slurm refuses a plain file
    host=$(hostname -s)
    cpus=$(nproc)
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    cat >/etc/slurm/slurm.conf <<END
$mark
ClusterName=onenode
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=1
ReturnToService=2
GresTypes=gpu
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes=$host Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=$host MaxTime=INFINITE State=UP
END
    printf '%s\nNodeName=%s Name=gpu Count=1 File=%s\n' "$mark" "$host" $home/gpu0 >/etc/slurm/gres.conf
    chown munge:munge /run/munge
    if [ ! -f /etc/munge/munge.key ]; then
        head -c 1024 /dev/urandom >/etc/munge/munge.key
        chown munge:munge /etc/munge/munge.key
        chmod 400 /etc/munge/munge.key
    fi
    munge -n >/dev/null 2>&1 || runuser -u munge -- munged --pid-file=/run/munge/one-node.pid
    slurmctld
    slurmd -N "$host" 2>/dev/null || slurmd
    for _ in $(seq 100); do
        if sinfo -h -o %T 2>/dev/null | grep -q idle; then exit 0; fi
        sleep 0.2
    done
    echo "Slurm did not start:" >&2
    tail -n 5 $home/slurmctld.log $home/slurmd.log >&2 || true
    exit 1
}

stop() {
    for file in $home/slurmd.pid $home/slurmctld.pid /run/munge/one-node.pid; do
        if [ -s "$file" ]; then
            pid=$(cat "$file")
            kill "$pid" 2>/dev/null || true
            for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        fi
    done
    for file in /etc/slurm/slurm.conf /etc/slurm/gres.conf; do
        if [ -e "$file" ] && grep -q "$mark" "$file"; then rm "$file"; fi
    done
    rm -rf $home
}

case "${1:-}" in
    start) start ;;
    stop) stop ;;
    why-not) why_not ;;
    *) echo "usage: $0 start|stop|why-not" >&2; exit 2 ;;
esac
