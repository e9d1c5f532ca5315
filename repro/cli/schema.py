"""`repro schema`: what files of the kit may hold, as JSON Schema."""

import json

import click

FILES = ("profile", "model", "study", "results", "finetunes", "run")


@click.command(short_help="Print the JSON Schema of a kind of file.")
@click.argument("kind", type=click.Choice(FILES))
def schema(kind: str) -> None:
    """Print what a kind of file may hold, as JSON Schema: for editors, and for other programs.

    \b
    profile, study       a TOML file for --profile or --study
    model                the table [model] of a profile, or --model
    results, finetunes   a line of results.jsonl or finetunes.jsonl
    run                  run.json
    """
    from repro.models.spec import ModelTable
    from repro.profiles import Profile
    from repro.results.schema import FinetuneLine, ResultLine, RunRecord
    from repro.studies.schema import StudyTable
    from repro.tables import adapter

    kinds = (Profile, ModelTable, StudyTable, ResultLine, FinetuneLine, RunRecord)
    told = adapter(dict(zip(FILES, kinds, strict=True))[kind]).json_schema()
    click.echo(json.dumps(told, indent=2))
