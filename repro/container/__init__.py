"""The kit's images: how they are built, run, archived and compared with their lock.

`lock` reads what an image must hold, `image` says how one is built and what is in it, `engine`
talks to Docker through its SDK. The commands are in `repro.cli.setup`.
"""
