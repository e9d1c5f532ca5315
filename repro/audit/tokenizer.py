"""Llama-2's tokenizer, line by line: exact, and fast enough to count tokens of every set."""

import os
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from repro.errors import missing

VARIABLE = "REPRO_LLAMA2_TOKENIZER"
HINT = (
    "download tokenizer.json of the ungated NousResearch/Llama-2-7b-hf at revision "
    "8efe6c9b93655b934e27bd9981e3ec13e55aee9d from huggingface.co, and name its folder with "
    f"--tokenizer or {VARIABLE}"
)

# Enough to tell it from other tokenizers of 32,000 entries.
_PROBE = {"▁###": 835, "▁negative": 8178, "<s>": 1, "</s>": 2, "▁": 29871, "<0x0A>": 13}

_SPECIAL = ("<s>", "</s>", "<unk>")


class LineTokenizer:
    """The part of a transformers tokenizer that the kit's encoders use, with a memory for lines.

    No piece of the vocabulary but the line break itself holds a line break, so no merge crosses
    one: the tokens of a text are those of its lines, with the break's token between them. Lines
    recur in every context, training size and shot count, and are tokenised once.

    Raises:
        ReproError: the tokenizer is not Llama-2's.
    """

    bos_token_id = 1
    eos_token_id = 2

    def __init__(self, tokenizer: Tokenizer) -> None:
        vocabulary = tokenizer.get_vocab()
        if len(vocabulary) != 32_000 or any(vocabulary.get(k) != v for k, v in _PROBE.items()):
            raise missing("this is not the tokenizer of Llama-2", HINT)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._break = _PROBE["<0x0A>"]
        self._first: dict[str, list[int]] = {}
        self._later: dict[str, list[int]] = {}

    def __call__(
        self, texts: str | Sequence[str], *, add_special_tokens: bool = True, verbose: bool = False
    ) -> dict[str, list[int] | list[list[int]]]:
        """Token ids of a text or of several, with a BOS unless `add_special_tokens` is off."""
        head = [self.bos_token_id] if add_special_tokens else []
        if isinstance(texts, str):
            return {"input_ids": head + self.ids(texts)}
        return {"input_ids": [head + self.ids(text) for text in texts]}

    def ids(self, text: str) -> list[int]:
        """Token ids of a text; special tokens only where it spells them out."""
        if any(token in text for token in _SPECIAL):
            # The tokenizer takes what follows one for the beginning of a text.
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        first, *later = text.split("\n")
        if first not in self._first:
            # A line that another follows, even an empty one, gets the blank that opens a text.
            whole = self._tokenizer.encode(first + "\n", add_special_tokens=False).ids
            self._first[first] = whole[:-1]
        tokens = list(self._first[first]) if text else []
        for line in later:
            if line not in self._later:
                # The blank that opens a text and the break are two tokens.
                whole = self._tokenizer.encode("\n" + line, add_special_tokens=False).ids
                self._later[line] = [self._break, *whole[2:]]
            tokens += self._later[line]
        return tokens

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def convert_ids_to_tokens(self, token: int) -> str | None:
        """The piece of an id; None for an id that is none."""
        return self._tokenizer.id_to_token(token)


def load(folder: Path | None = None) -> LineTokenizer:
    """The tokenizer in `folder`, else in $REPRO_LLAMA2_TOKENIZER.

    Raises:
        ReproError: no folder is named, or it holds no `tokenizer.json` of Llama-2.
    """
    chosen = folder or os.environ.get(VARIABLE)
    if not chosen:
        raise missing("no tokenizer of Llama-2 is named", HINT)
    path = Path(chosen).expanduser() / "tokenizer.json"
    if not path.is_file():
        raise missing(f"{path} is not there", HINT)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception for whatever it cannot read
        raise missing(f"{path} is not a tokenizer ({error})", HINT) from None
    return LineTokenizer(tokenizer)
