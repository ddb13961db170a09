"""`python -m mlx_mixer` is `mlx-mixer`."""

from mlx_mixer.cli.main import main

main()
