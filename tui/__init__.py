"""The terminal application: screens to write, search and ask, over the `mlx_mixer` library.

`tui.start.run` is the entry point. Importing this package loads neither MLX nor mlx-lm: the first paint does not wait
for them.
"""
