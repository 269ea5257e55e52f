"""Faster computations of what the reference nets in `genus.nets` compute: each is tested equal to its reference, measured at
least 1.2 times as fast (benchmarks/kernels.py), and can be removed by going back to the reference."""
