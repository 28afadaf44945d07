"""Make the CLIP-style tokenizer of Tiny Scenes: one token per word of the grammar.

Free text still works: unknown words fall apart into letters.
"""

from __future__ import annotations

import json
import string
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from engines.scenes import grammar

LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"


def make_tokenizer() -> Tokenizer:
    """Vocabulary and merges are written out, not trained, so they never change."""
    letters = [*string.ascii_lowercase, *string.digits, *",.-'!?"]
    vocabulary = {START: 0, END: 1}
    merges: dict[tuple[str, str], None] = {}
    for letter in letters:
        vocabulary[letter] = len(vocabulary)
        vocabulary[f"{letter}</w>"] = len(vocabulary)
    for word in sorted(grammar.vocabulary(), key=lambda word: (-len(word), word[::-1])):
        symbols = [*word[:-1], f"{word[-1]}</w>"]
        while len(symbols) > 1:
            merges[symbols[0], symbols[1]] = None
            symbols = [symbols[0] + symbols[1], *symbols[2:]]
            vocabulary.setdefault(symbols[0], len(vocabulary))
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=list(merges),
            unk_token=END,
            end_of_word_suffix="</w>",
            continuing_subword_prefix="",
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, 0), (END, 1)]
    )
    return tokenizer


def save(folder: Path) -> None:
    """Write `tokenizer.json` and the CLIP files beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    model = json.loads(tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], indent=0))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "bos_token": START, "eos_token": END,
        "unk_token": END, "pad_token": END, "do_lower_case": True, "add_prefix_space": False,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def encode(texts: list[str]) -> list[list[int]]:
    """Token ids padded with the end token to `LENGTH`."""
    tokenizer = make_tokenizer()
    end = tokenizer.token_to_id(END)
    tokenizer.enable_padding(length=LENGTH, pad_id=end, pad_token=END)
    tokenizer.enable_truncation(LENGTH)
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]
