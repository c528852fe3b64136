"""Benchmarks: load, systems under test, paired comparison and reports."""
