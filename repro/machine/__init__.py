"""What is here: GPUs, their memory and what it takes of it, and whether it computes right."""
