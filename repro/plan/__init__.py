"""From a study and a profile to steps with content keys: what is to be done, and what is there."""
