"""Benchmarks: ratios to the same thing written by hand, measured in the same run."""
