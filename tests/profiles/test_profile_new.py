"""Profile files of a user's own: written by the kit, they load and mean the same."""

import tomllib
from pathlib import Path

import jsonschema
import pytest

from repro import profiles
from repro.profiles.new import commented
from repro.tables import adapter


@pytest.mark.parametrize("name", profiles.names())
def test_a_new_profile_begins_with_the_settings_of_another(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(commented(profiles.load(name), "repro run --profile mine.toml"))
    assert profiles.load(str(path)).digest == profiles.load(name).digest


def test_every_setting_stands_there_with_its_meaning(tmp_path: Path) -> None:
    text = commented(profiles.load("embedded"), "repro run --profile mine.toml")
    settings = [line for line in text.splitlines() if " = " in line and not line.startswith("# ")]
    assert "# test: at most this many rows of a test set are scored." in text
    assert not [line for line in text.splitlines() if line.startswith("# ") and line.endswith(":")]
    assert len(settings) == len({line.split(" = ")[0] for line in settings})
    path = tmp_path / "all.toml"
    path.write_text("\n".join(line.removeprefix("# ") for line in text.splitlines()
                              if " = " in line or line.startswith("[")))  # fmt: skip
    loaded = profiles.load(str(path))
    assert loaded.compute.lora_rank == 0
    assert loaded.sizes.test == 50


@pytest.mark.parametrize(
    ("change", "valid"),
    [({}, True), ({"dat": "embedded"}, False), ({"seeds": []}, False), ({"data": "hub"}, False)],
)
def test_the_schema_takes_what_the_kit_takes(change: dict[str, object], valid: bool) -> None:
    schema = adapter(profiles.Profile).json_schema()
    path = Path(profiles.__file__).with_name("embedded.toml")
    table = tomllib.loads(path.read_text()) | {"name": "mine", "origin": "mine.toml"}
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(table | change) is valid
