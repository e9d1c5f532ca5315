"""Prints the sha256 of all that the locks are made from, which they carry in their heads."""

import hashlib
import json
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Hashes the requirements of pyproject.toml and the files that lock.sh adds to them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    groups = [extras[name] for name in ("report", "run", "small", "vllm")]
    requirements = [project["dependencies"], *groups]
    files = ("extra.in", "torch-cpu.txt", "vllm.in")
    added = [(ROOT / "docker" / name).read_text() for name in files]
    text = json.dumps([requirements, project["requires-python"], *added])
    print(hashlib.sha256(text.encode()).hexdigest())


if __name__ == "__main__":
    main()
