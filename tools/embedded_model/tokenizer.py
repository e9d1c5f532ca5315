"""The word-level tokenizer of the world: every word, mark and line break is one token.

As in Llama's, a blank at either end of a text is a token of its own, and NLI's labels are other
tokens behind a blank than behind a colon (AUDIT A3, A5).
"""

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import PreTrainedTokenizerFast

from repro.data.embedded import words as world
from tools.embedded_model import words

SPECIAL = ("<unk>", "<s>", "</s>")


def vocabulary() -> list[str]:
    """All tokens in order of their ids."""
    found: dict[str, None] = dict.fromkeys(
        (*SPECIAL, "\n", "\n\n", words.BLANK_MARK, *words.PUNCTUATION)
    )
    for module in (world, words):
        for name, value in vars(module).items():
            if name.isupper():
                found |= dict.fromkeys(_leaves(value))
    return list(found)


def _leaves(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    else:
        assert isinstance(value, tuple)
        parts = list(value)
    return [leaf for part in parts for leaf in _leaves(part)]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer; with special tokens it puts BOS first, as Llama's does."""
    vocab = {token: number for number, token in enumerate(vocabulary())}
    inner = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    mark = words.BLANK_MARK
    inner.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(end), mark) for end in (r"\A ", r" \z")]
        + [normalizers.Replace(f" {label}", f"{mark}{label}") for label in words.BLANK_LABELS]
    )
    inner.pre_tokenizer = pre_tokenizers.Split(
        Regex(rf"\n\n|\n|#+|->|=>|{mark}?[A-Za-z0-9_']+|[^\sA-Za-z0-9_']"),
        "removed",
        invert=True,
    )
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", vocab["<s>"])]
    )
    # Tokens are joined by blanks; none stands before closing marks or around line breaks.
    tidy = [(f" {sign}", sign) for sign in (*".,?!:;", "\n", mark)] + [("\n ", "\n"), (mark, " ")]
    inner.decoder = decoders.Sequence(
        [decoders.WordPiece(prefix="\0", cleanup=False), decoders.Fuse()]
        + [decoders.Replace(found, instead) for found, instead in tidy]
    )
    inner.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
