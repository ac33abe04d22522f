"""Runs every benchmark."""

from tests.benchmarks import bench_aggregation, bench_calls, bench_limits

bench_calls.main()
bench_limits.main()
bench_aggregation.main()
