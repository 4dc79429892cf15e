"""What a study costs before it is paid for: examples and tokens, FLOPs, hours of a GPU, disk."""
