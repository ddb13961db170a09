"""`mlx-mixer paths`."""

from dataclasses import asdict

import click

from mlx_mixer.cli.output import print_foreign, print_json
from mlx_mixer.paths import default_paths


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def paths(as_json: bool) -> None:
    """Show where files are kept.

    MLX_MIXER_HOME puts everything below one folder; otherwise the XDG variables decide.
    """
    where = default_paths()
    rows = {
        **asdict(where),
        "library": where.library,
        "models": where.models,
        "log": where.log,
        "chat_history": where.chat_history,
    }
    if as_json:
        print_json({name: str(path) for name, path in rows.items()})
        return
    for name, path in rows.items():
        print_foreign(f"{name:13}{path}")
