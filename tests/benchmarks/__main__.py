"""Runs every benchmark."""

from tests.benchmarks import bench_aggregation, bench_calls

bench_calls.main()
bench_aggregation.main()
