"""`mlx-mixer convert`."""

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from mlx_mixer.cli.conversion import ConversionBar, show_report
from mlx_mixer.cli.inspection import show_inspection
from mlx_mixer.cli.repository import check_name, default_folder, fetch, is_repository, show_repository, upload
from mlx_mixer.cli.torch_checkpoint import write_torch


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Model folder to make.")
@click.option("--tokenizer", type=click.Path(path_type=Path), help="tokenizer.json, SentencePiece model or folder.")
@click.option("--padding-side", type=click.Choice(["left", "right"]), help="Where training texts were padded.")
@click.option("--pad-token-id", type=int, help="Id that they were padded with.")
@click.option("--embedding-position", type=int, help="Hidden state that is a text's embedding, such as -2.")
@click.option("--temperature", type=float, help="Of the contrastive loss that an embedder was trained with.")
@click.option("--mixer", help="Structure of the token mixing, where keys do not tell.")
@click.option("--decoder-input", type=click.Choice(["repeat", "unroll"]), help="For autoencoders.")
@click.option("--decay-constant", type=float, help="For structured recurrent mixers.")
@click.option("--use-projections/--no-use-projections", default=None, help="For structured mixers with parallel heads.")
@click.option("--quantize", type=click.Choice(["8", "4"]), help="Store the large matrices in so many bits.")
@click.option("--dtype", type=click.Choice(["float32", "float16", "bfloat16"]), help="How all else is stored.")
@click.option("--verify/--no-verify", default=True, help="Compare the result with its source.", show_default=True)
@click.option("--inspect", is_flag=True, help="Say what SOURCE is and what is missing; write nothing.")
@click.option("--to-torch", is_flag=True, help="The way back: write the model folder SOURCE under upstream names.")
@click.option(
    "--upload", "repository", metavar="OWNER/NAME", help="Upload the model, with a card; private unless --public."
)
@click.option("--public", is_flag=True, help="Let everybody see what is uploaded.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def convert(
    context: click.Context,
    /,
    source: Path,
    out: Path | None,
    quantize: str | None,
    dtype: str | None,
    verify: bool,
    inspect: bool,
    to_torch: bool,
    repository: str | None,
    public: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert a PyTorch checkpoint into a model folder.

    SOURCE is a Trainer run or checkpoint folder, a .safetensors file, a .bin file, a shard index, or a repository on
    the Hugging Face Hub: OWNER/NAME[@REVISION], whose model goes into the models folder unless --out says otherwise.
    Nothing in it is executed. What a checkpoint does not hold is told with the options, and kept in the folder's
    config.json. With --quantize or --dtype SOURCE may be a model folder too, which is then written anew; a transformer
    that mlx-lm runs is converted by mlx-lm.
    """
    hints = {name: value for name, value in options.items() if value is not None}
    if to_torch:
        write_torch(context, source, out, as_json)
        return
    is_remote = is_repository(source)
    if inspect and is_remote:
        context.exit(show_repository(str(source), as_json))
    if inspect:
        context.exit(show_inspection(source, as_json, hints))
    if repository is not None:
        check_name(repository)
    if is_remote:
        out = out or default_folder(source)
        source = fetch(source)
    if out is None:
        raise click.UsageError("give the model folder to make: --out DIR (or --inspect, to only look)", context)
    # Named and not imported: the library does not know the converter.
    with ConversionBar(source.name) as bar:
        report = import_module("convert").convert_checkpoint(
            source,
            out,
            quantize=None if quantize is None else int(quantize),
            dtype=dtype,
            verify=verify,
            progress=bar,
            **hints,
        )
    sent = None if repository is None else upload(out, repository, is_public=public)
    show_report(report, sent, as_json=as_json)
