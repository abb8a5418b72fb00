"""Where the numbers of `configs/workloads` that were fitted come from."""
