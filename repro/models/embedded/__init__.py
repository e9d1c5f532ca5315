"""The embedded micro Llama: checkpoint, tokenizer, and recipe.json with log and hashes."""
