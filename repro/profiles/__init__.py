"""Profiles: what to run on. One TOML file each; `load` reads and checks them."""

from repro.profiles.profile import Profile, load, names

__all__ = ["Profile", "load", "names"]
