#!/usr/bin/env bash
# Run the paper on Slurm: start Ray on the nodes of an allocation, then the pipeline. Run `make setup` and fill in
# infra/cluster.env once, on a file system that all nodes share. Then, in the root of the repository:
#   sbatch infra/slurm.sh
#   sbatch --nodes=2 --partition=a100 infra/slurm.sh     # flags of sbatch override those below
# Five minutes before its time limit the job requeues itself. It resumes from the last checkpoints, also after
# Slurm has preempted it.
#SBATCH --job-name=regproxy
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@300
#SBATCH --open-mode=append
#SBATCH --output=regproxy-%j.log
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"

if [[ -f infra/cluster.env ]]; then
  set -a
  # shellcheck source=/dev/null
  . infra/cluster.env
  set +a
fi
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN="${RAY_AUTH_TOKEN:-$(openssl rand -hex 32)}" # srun passes it to the nodes
export PATH="$PWD/.venv/bin:$PATH"
export RAY_USAGE_STATS_ENABLED=0
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK" # since Slurm 22.05, srun does not inherit --cpus-per-task

stop() { # end the pipeline, then Ray on every node, and wait for each
  trap '' USR1 TERM
  for process in "${pipeline:-}" "${workers:-}" "${head:-}"; do
    if [[ -n "$process" ]]; then
      kill "$process" 2>/dev/null || true
      wait "$process" 2>/dev/null || true
    fi
    if [[ "$process" == "${pipeline:-}" ]]; then # ablate saves checkpoints after make and dvc have ended
      for lock in runs/.*.lock; do
        [[ ! -f "$lock" ]] || flock --timeout 200 "$lock" true || true
      done
    fi
  done
}
requeue() {
  echo "The time limit is near. Requeueing the job."
  stop
  trap - EXIT
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
}
trap stop EXIT
trap requeue USR1
trap 'echo "Stopped by SIGTERM."; exit 143' TERM # Slurm itself requeues a preempted job

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address="$(srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address | awk '{print $1}')"
port=$((20000 + SLURM_JOB_ID % 10000)) # jobs whose heads share a node need different ports
size=(--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}")

srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" \
  ray start --head --node-ip-address="$address" --port="$port" "${size[@]}" --block &
head=$!
for attempt in {1..60}; do
  if ray health-check --address "$address:$port" >/dev/null 2>&1; then break; fi
  if ((attempt == 60)) || ! kill -0 "$head" 2>/dev/null; then
    echo "error: Ray's head on ${nodes[0]} does not answer at $address:$port. Look for the cause above." >&2
    exit 1
  fi
  sleep 2
done
if ((${#nodes[@]} > 1)); then
  others="$(IFS=,; echo "${nodes[*]:1}")"
  srun --overlap --nodes=$((${#nodes[@]} - 1)) --ntasks-per-node=1 --nodelist="$others" \
    ray start --address="$address:$port" "${size[@]}" --block &
  workers=$!
fi

export RAY_ADDRESS="$address:$port"
alive='import ray; ray.init(logging_level="ERROR"); print(sum(node["Alive"] for node in ray.nodes()))'
for attempt in {1..60}; do # five minutes; Ray also uses nodes that join later
  count="$(python -c "$alive")"
  if ((count >= ${#nodes[@]})); then break; fi
  sleep 5
done
echo "Ray runs on $count of ${#nodes[@]} nodes"

make cluster-repro &
pipeline=$!
wait "$pipeline"
