"""The kit's images: how they are built, run, archived and compared with their lock."""
