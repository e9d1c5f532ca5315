"""Puts expected_results/, which has its home beside the package, into what is built of it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithReferences(build_py):
    """Also copies the references and the paper's numbers, as repro/expected_results."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "repro", "expected_results")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree("expected_results", target)


setup(cmdclass={"build_py": WithReferences})
