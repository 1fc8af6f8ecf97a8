#!/bin/bash
# A command beside a one-node Slurm in a network of its own: `unshare -n bash one_node_slurm.sh FOLDER COMMAND...`
set -e
folder=$1; shift
ip link set lo up
ip addr add 127.0.0.2/8 dev lo 2>/dev/null || true  # Slurm wants the node under another address than the controller
export SLURM_CONF=$folder/slurm.conf
mkdir -p $folder/state $folder/spool $folder/log
head -c 1024 /dev/urandom > $folder/munge.key; chmod 600 $folder/munge.key
cat > $SLURM_CONF <<X
ClusterName=one
SlurmctldHost=$(hostname -s)(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/ctld.pid
SlurmdPidFile=$folder/d.pid
SlurmctldLogFile=$folder/log/ctld
SlurmdLogFile=$folder/log/d
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SchedulerParameters=sched_interval=1
MailProg=/bin/true
NodeName=$(hostname -s) NodeAddr=127.0.0.2 CPUs=$(nproc) RealMemory=2000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
X
munged --force --key-file=$folder/munge.key --socket=$folder/munge.socket --pid-file=$folder/munge.pid --seed-file=$folder/munge.seed --log-file=$folder/log/munge
slurmctld -D > $folder/log/ctld.out 2>&1 & 
slurmd -D > $folder/log/d.out 2>&1 &
trap 'kill $(jobs -p) $(cat $folder/munge.pid) 2>/dev/null' EXIT
for i in $(seq 100); do sinfo -h -o %t 2>/dev/null | grep -q idle && break; sleep 0.1; done
"$@"
