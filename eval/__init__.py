"""The examiner: benchmarks, metrics and reports."""
