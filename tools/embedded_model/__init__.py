"""Pre-training of the embedded micro Llama: its documents, tokenizer, recipe and training loop."""
