"""Benchmarks: what `make bench` runs, and what the docs quote. They are not tests and assert nothing."""
