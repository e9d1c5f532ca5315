"""The paper's own grid: tasks, data sets, prompts, variants, figures, claims and protocols."""
