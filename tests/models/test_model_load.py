"""Loading: precision, rotary frequencies, determinism, silence."""

import json
import os
import shutil
import struct
from pathlib import Path

import pytest

from repro.errors import EXIT_MISSING, EXIT_USAGE, ReproError
from repro.models.files import model_digest
from repro.models.load import load, load_tokenizer


def frequencies(model):
    return model.model.rotary_emb.inv_freq


def test_loads_ready_for_evaluation_and_in_silence(model_folder, capfd):
    capfd.readouterr()
    model, tokenizer = load(model_folder)
    assert not model.training
    assert {p.dtype.itemsize for p in model.parameters()} == {4}
    assert tokenizer("the cat").input_ids == [1, 3, 4]
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_are_read_as_asked_and_frequencies_stay_float32(tmp_path, write_model, dtype):
    import torch

    written = write_model(tmp_path / "half", dtype="float16")
    model, _ = load(tmp_path / "half", dtype=dtype)
    expected = written.model.embed_tokens.weight.detach().to(getattr(torch, dtype))
    assert torch.equal(model.model.embed_tokens.weight, expected)
    assert frequencies(model).dtype == torch.float32
    reference, _ = load(tmp_path / "half", dtype="float32")
    assert torch.equal(frequencies(model), frequencies(reference))


def by_hand(head, theta=10_000.0):
    """The rotary frequencies, rounded to bfloat16 by cutting 16 bits with ties to even."""
    exact = [theta ** -(2 * i / head) for i in range(head // 2)]
    bits = [struct.unpack("<I", struct.pack("<f", value))[0] for value in exact]
    cut = [(b + 0x7FFF + ((b >> 16) & 1)) & 0xFFFF0000 for b in bits]
    return exact, [struct.unpack("<f", struct.pack("<I", b))[0] for b in cut]


def test_rounded_frequencies_against_a_hand_computation(model_folder):
    import torch

    exact, rounded = by_hand(head=8)
    plain, _ = load(model_folder)
    model, _ = load(model_folder, rotary="rounded")
    torch.testing.assert_close(frequencies(plain), torch.tensor(exact))
    assert frequencies(model).tolist() == rounded
    assert frequencies(model).dtype == torch.float32
    ids = torch.arange(3, 15).repeat(4).unsqueeze(0)
    with torch.no_grad():
        assert not torch.equal(model(ids).logits, plain(ids).logits)


def test_rounding_is_what_a_cast_to_bfloat16_does(model_folder):
    import torch

    cast = load(model_folder)[0].to(torch.bfloat16)
    loaded, _ = load(model_folder, dtype="bfloat16", rotary="rounded")
    assert torch.equal(frequencies(cast).float(), frequencies(loaded))
    ids = torch.arange(3, 15).repeat(4).unsqueeze(0)
    with torch.no_grad():
        assert torch.equal(cast(ids).logits, loaded(ids).logits)


def test_two_loads_give_the_same_bits_forwards_and_backwards(model_folder):
    import torch

    ids = torch.randint(3, 16, (4, 40), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, :9] = 0  # left padding takes another path through attention
    found = []
    for _ in range(2):
        model, _ = load(model_folder)
        out = model(ids, attention_mask=mask, labels=ids)
        out.loss.backward()
        found.append([out.logits.detach(), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_weights_that_do_not_fit_the_config_are_refused_not_made_up(model_folder):
    path = model_folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ReproError, match=r"missing keys model\.layers\.2") as caught:
        load(model_folder)
    assert caught.value.exit_code == EXIT_MISSING


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "float8"}, ["float8", "float32, bfloat16, float16"]),
        ({"rotary": "exact"}, ["exact", "float32, rounded"]),
    ],
)
def test_wrong_arguments(model_folder, options, words):
    with pytest.raises(ReproError) as caught:
        load(model_folder, **options)
    assert caught.value.exit_code == EXIT_USAGE
    assert all(word in f"{caught.value} {caught.value.hint}" for word in words)


def test_folder_that_is_no_model(tmp_path):
    with pytest.raises(ReproError, match=r"config\.json is missing") as caught:
        load(tmp_path)
    assert caught.value.exit_code == EXIT_MISSING


def test_digest_is_over_content_and_names(model_folder, tmp_path):
    digest = model_digest(model_folder)
    other = tmp_path / "other"
    shutil.copytree(model_folder, other)
    (other / "facts.json").write_text("{}")
    assert model_digest(other) == digest
    (other / "generation_config.json").rename(other / "special_tokens_map.json")
    assert model_digest(other) != digest


LLAMA2 = os.environ.get("REPRO_LLAMA2_TOKENIZER", "")


@pytest.mark.skipif(not LLAMA2, reason="REPRO_LLAMA2_TOKENIZER is not set")
def test_llama2_tokenizer_as_the_paper_had_it(capfd):
    tokenizer = load_tokenizer(Path(LLAMA2))
    assert tokenizer("Hello world").input_ids == [1, 15043, 3186]
    assert tokenizer.eos_token_id == 2
    assert len(tokenizer) == 32_000
    text = "### Input:\nShe ate 3 apples — naïvely.\n### Summary:"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="no list of mapped files here")
def test_weights_are_mapped_not_copied(model_folder):
    model, _ = load(model_folder)
    address = model.get_input_embeddings().weight.data_ptr()
    (line,) = (
        line
        for line in Path("/proc/self/maps").read_text().splitlines()
        if int(line.split("-")[0], 16) <= address < int(line.split("-")[1].split()[0], 16)
    )
    assert line.endswith(str(model_folder / "model.safetensors"))


def test_another_vocabulary_than_the_weights_have(model_folder):
    path = model_folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 99}))
    with pytest.raises(ReproError, match=r"config\.json") as caught:
        load(model_folder)
    assert caught.value.exit_code == EXIT_MISSING
    assert "same model" in caught.value.hint


@pytest.mark.parametrize("content", ["{}", "[]", '{"version": "1.0", "model": 3}'])
def test_a_tokenizer_that_is_none(model_folder, content):
    (model_folder / "tokenizer.json").write_text(content)
    with pytest.raises(ReproError, match=str(model_folder)) as caught:
        load_tokenizer(model_folder)
    assert caught.value.exit_code == EXIT_MISSING
