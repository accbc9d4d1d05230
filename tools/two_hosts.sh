#!/usr/bin/env bash
# One analysis by two hosts, each a network namespace of this machine: whole, then with one of its ranks killed, then with
# the cable between them cut. Needs root and iproute2; prints what the hosts say, their exit status and when they end.
#
# tools/two_hosts.sh [PYTHON]
set -euo pipefail
python=${1:-.venv/bin/python}
work=$(mktemp -d)
trap 'ip netns del gradlaw-a; ip netns del gradlaw-b; rm -rf "$work"' EXIT
for host in a b; do ip netns add "gradlaw-$host"; done
ip link add cable-a netns gradlaw-a type veth peer name cable-b netns gradlaw-b
for host in a b; do
  ip -n "gradlaw-$host" addr add "10.77.0.$([ "$host" = a ] && echo 1 || echo 2)/24" dev "cable-$host"
  ip -n "gradlaw-$host" link set lo up
  ip -n "gradlaw-$host" link set "cable-$host" up
done
cat > "$work/problem.py" <<'PROBLEM'
import torch
import gradlaw as gl

def make():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 60), torch.nn.Tanh(), torch.nn.Linear(60, 5))
    return gl.Problem(model, torch.nn.functional.cross_entropy, (torch.randn(500, 20), torch.randint(5, (500,))))
PROBLEM

host() { # letter, number of the node, port, iterations
  local status=0
  GLOO_SOCKET_IFNAME="cable-$1" OMP_NUM_THREADS=1 ip netns exec "gradlaw-$1" "$python" -m torch.distributed.run \
    --nnodes 2 --nproc-per-node 1 --node-rank "$2" --master-addr 10.77.0.1 --master-port "$3" -m gradlaw analyze \
    --problem "$work/problem.py:make" -T "$4" --engine loop --quiet --out "$work/run-$3" > "$work/$1.log" 2>&1 || status=$?
  grep -h "^gradlaw: \|^report: " "$work/$1.log" || true
  echo "host $1: status $status after $((SECONDS - $(cat "$work/begun"))) s"
}

analysis() { # port, iterations, what to do to the second host after a minute
  echo "$SECONDS" > "$work/begun"
  host a 0 "$1" "$2" &
  host b 1 "$1" "$2" &
  if [ -n "$3" ]; then sleep 60; echo "$SECONDS" > "$work/begun"; $3; fi
  wait
}

kill_b() { # the rank, and not torchrun, which starts it
  local pid command
  for pid in $(ip netns pids gradlaw-b); do
    command=$(tr '\0' ' ' < "/proc/$pid/cmdline")
    if [[ $command == *"-m gradlaw analyze"* && $command != *torch.distributed* ]]; then kill -9 "$pid"; fi
  done
}
cut_cable() { ip -n gradlaw-b link set cable-b down; }

echo "whole:"; analysis 29521 60 ""
echo "killed:"; analysis 29522 20000 kill_b
echo "cut:"; analysis 29523 20000 cut_cable
