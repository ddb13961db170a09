"""Where tensors are: containers, the files in them, and what only looks like one. Nothing in them is executed."""
