"""Other programs that advance the work item of `benchmarks/throughput.py`."""
