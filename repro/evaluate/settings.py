"""How cells are computed. Needs no torch."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How cells are computed.

    Attributes:
        token_budget: rows times tokens that a batch may hold, tokens to come included.
        max_new_tokens: length of a generation, already scaled to the profile's model.
        share_prefix: compute what a cell's prompts begin with once, where the model allows it.
    """

    token_budget: int
    max_new_tokens: int
    share_prefix: bool = True

    def without_sharing(self) -> "Settings":
        """The same, but every prompt computed whole."""
        return replace(self, share_prefix=False)
