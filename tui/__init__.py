"""The terminal application: a writing screen and a search screen over the `mlx_mixer` library.

`tui.app.run` is the entry point. Importing this package loads neither MLX nor mlx-lm: the first paint does not wait for
them.
"""
