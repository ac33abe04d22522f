"""Runs every benchmark in its own process, so that none sees another's imports."""

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
