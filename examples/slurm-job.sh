#!/bin/bash
# A Slurm job that is longer than its time limit: two minutes before the limit it saves the program to a
# file and puts itself into the queue again; the next run goes on from the file.
#
#   sbatch slurm-job.sh PROGRAM [ARGUMENT]...
#
# The program and everything it starts are saved, prepared or not. It must not be in the middle of a
# conversation over the network, unless it has a callback that hangs up (reconnect.c).
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -u

context=$PWD/job-$SLURM_JOB_ID.ctx # keeps its number when it is queued again
output=$PWD/job-$SLURM_JOB_ID.out  # of the program; cut back to the state of the file by a restart

# --term: the program gets SIGTERM when the file is complete, and runs on if there is none.
# shellcheck disable=SC2317 # called by the trap
save() {
  trap '' USR1
  if cr_checkpoint --time 100 --term -f "$context" "$job"; then
    saved=yes
  else
    echo "job $SLURM_JOB_ID: not saved, runs on until the limit" >&2
    trap save USR1
  fi
}

saved=no
if [ -s "$context" ]; then
  cr_restart "$context" &
else
  cr_run "$@" >"$output" 2>&1 &
fi
job=$!
trap save USR1

# Bash leaves `wait` for the trap: wait until the program has really ended.
while
  wait "$job"
  status=$?
  kill -0 "$job" 2>/dev/null
do :; done

if [ "$saved" = yes ]; then
  scontrol requeue "$SLURM_JOB_ID"
  exit
fi
rm -f "$context"
exit "$status"
