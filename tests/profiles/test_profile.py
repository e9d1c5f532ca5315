"""Profiles: those of the kit load; a wrong file is refused with file and field."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from repro import profiles
from repro.errors import ReproError

EMBEDDED = files("repro.profiles").joinpath("embedded.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", profiles.names())
def test_profiles_of_the_kit_load_and_begin_with_their_command(name: str) -> None:
    assert profiles.load(name).summary
    text = files("repro.profiles").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    assert text.startswith(f"# repro run --profile {name}\n")
    tomllib.loads(text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('data = "embedded"', 'data = "hub"', "field 'data' is 'hub'"),
        ('data = "embedded"', "", "field 'data' is missing"),
        ('data = "embedded"', 'date = "embedded"', "unknown field 'date'"),
        ("test = 50", 'test = "many"', "field 'sizes.test' is 'many'"),
        ("test = 50", "test = 0", "field 'sizes.test' is 0: .* greater than 0"),
        ("learning_rate = ", "learning_rate = inf # ", "field 'scale.learning_rate' is inf"),
        ("summary", "seeds = [4294967296]\nsummary", r"field 'seeds\[0\]' is 4294967296"),
        ("threads = 1", "threads = -2", "field 'compute.threads' is -2"),
        ("threads = 1", "threads = true", "field 'compute.threads' is True"),
        ("2000 = 160", "2000 = 'many'", "field 'sizes.train.2000' is 'many'"),
        ("2000 = 160", "0 = 160", r"field 'sizes.train.0"),
        ("train_rate = ", "train_rate = 0 # ", "field 'compute.train_rate' is 0"),
        ('protocol = "published-code"', 'protocol = "as-is"', "field 'protocol' is 'as-is'"),
        ('kind = "embedded"', "", "field 'model.kind' is missing"),
        ("[model]", "[model", "not TOML"),
    ],
)
def test_a_wrong_profile_names_file_and_field(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in EMBEDDED
    path = tmp_path / "mine.toml"
    path.write_text(EMBEDDED.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ReproError, match=said) as caught:
        profiles.load(str(path))
    assert "mine.toml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_setting_changes_the_digest_and_comments_and_rates_do_not(tmp_path: Path) -> None:
    """Better estimates of a profile's cost do not keep its results apart."""
    path = tmp_path / "embedded.toml"
    told = re.sub(
        r"^((?:train|evaluate|generate)_rate) = \d+",
        r"\1 = 7",
        "# a comment\n" + EMBEDDED,
        flags=re.M,
    )
    assert told.count("_rate = 7") == 3
    path.write_text(told, encoding="utf-8")
    assert profiles.load(str(path)).digest == profiles.load("embedded").digest
    path.write_text(EMBEDDED.replace("test = 50", "test = 99"), encoding="utf-8")
    assert profiles.load(str(path)).digest != profiles.load("embedded").digest


def test_low_rank_changes_alter_the_digest_and_their_absence_does_not(tmp_path: Path) -> None:
    path = tmp_path / "embedded.toml"
    digests = []
    for rank in ("", "\nlora_rank = 0", "\nlora_rank = 4"):
        path.write_text(EMBEDDED.replace("threads = 1", f"threads = 1{rank}"), encoding="utf-8")
        digests.append(profiles.load(str(path)).digest)
    assert digests[0] == digests[1] == profiles.load("embedded").digest
    assert digests[2] != digests[0]


def test_a_byte_order_mark_is_no_part_of_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "embedded.toml"
    path.write_text(EMBEDDED, encoding="utf-8-sig")
    assert profiles.load(str(path)).digest == profiles.load("embedded").digest


def test_unknown_and_unreadable_profiles(tmp_path: Path) -> None:
    with pytest.raises(ReproError, match="unknown profile 'lama2-7b'") as caught:
        profiles.load("lama2-7b")
    assert "llama2-7b" in caught.value.hint
    with pytest.raises(ReproError, match="cannot be read") as caught:
        profiles.load(str(tmp_path / "none.toml"))
    assert caught.value.exit_code == 3


def test_sizes_beyond_those_named_use_the_same_share() -> None:
    own = profiles.load("embedded")
    found = {size: own.train_limit(size) for size in (64, 2000, 6000, 6001, 20000, 50000)}
    assert found == {64: None, 2000: 160, 6000: 480, 6001: 480, 20000: 1600, 50000: 4000}
    assert profiles.load("llama2-7b").train_limit(50000) is None
