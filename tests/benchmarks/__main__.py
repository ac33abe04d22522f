"""Runs every benchmark, each in a process of its own, so that none sees what another imported."""

import subprocess
import sys

for name in (
    "bench_calls",
    "bench_cold_starts",
    "bench_streams",
    "bench_limits",
    "bench_hot_tenants",
    "bench_memory",
    "bench_aggregation",
):
    subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=True)
