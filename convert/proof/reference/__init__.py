"""The upstream forward passes in plain numpy, to prove conversions with.

Written from the equations of the upstream code, on its tensor names and layouts. Nothing here is shared with the key
tables, with the transforms or with the layers of the product, so a mistake in one of them shows as a difference.
Arithmetic is float64; weights are read one tensor at a time, when they are needed.
"""
