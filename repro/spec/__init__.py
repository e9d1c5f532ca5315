"""The words of an experiment, as open, frozen, validated values; imports nothing of the kit."""
