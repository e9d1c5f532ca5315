"""What of a plan another protocol changes: only that has to be computed anew.

Content keys hold whole protocols, so that a switch changes the keys of cells on which it has no
effect. Here the tokens are compared that models are trained on and asked with.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from repro.evaluate.encode import Job
from repro.evaluate.encode import encode as encode_prompts
from repro.finetune.encode import encode
from repro.plan.plan import Plan, PlannedCell, PlannedModel, Training
from repro.spec.cells import Variant
from repro.spec.protocol import Protocol
from repro.spec.tasks import Kind

_ENCODED = ("max_length", "truncation_side", "label_boundary")
"""Settings of fine-tunes that have no effect but on the tokens of their samples."""


@dataclass
class Touched:
    """Compares plans of one selection with a first one, by the base model's tokenizer."""

    first: Plan
    tokenizer: Any
    _digests: dict[object, str] = field(default_factory=dict)

    def part(self, plan: Plan) -> Plan:
        """The part of a plan whose results can differ from those of the first one."""
        models = []
        for before, after in zip(self.first.models, plan.models, strict=True):
            anew = self._trained_otherwise(before, after, plan)
            pairs = zip(before.cells, after.cells, strict=True)
            cells = tuple(b for a, b in pairs if anew or self._asked_otherwise(a, b, plan))
            if cells:
                models.append(replace(after, cells=cells))
        return replace(plan, models=tuple(models))

    def _trained_otherwise(self, before: PlannedModel, after: PlannedModel, plan: Plan) -> bool:
        one, other = before.training, after.training
        if before.key == after.key or one is None or other is None:
            return before.key != after.key
        like = {name: getattr(one.recipe, name) for name in _ENCODED}
        if replace(other.recipe, **like) != one.recipe:
            return True
        if plan.request.protocol.rotary_precision != self.first.request.protocol.rotary_precision:
            return True
        return self._samples(before.variant, one) != self._samples(after.variant, other)

    def _samples(self, variant: Variant, training: Training) -> str:
        """A digest of the samples that a model is trained on."""
        # Seeds only order the samples.
        place = (variant, replace(training.recipe, seed=0), *sorted(training.facts.items()))
        if place not in self._digests:
            rows, shown = training.rows.to_list(), training.demonstrations.to_list()
            samples = encode(
                rows, shown, training.template, self.tokenizer, training.recipe, training.contexts
            )
            self._digests[place] = _digest(samples)
        return self._digests[place]

    def _asked_otherwise(self, before: PlannedCell, after: PlannedCell, plan: Plan) -> bool:
        if before.key == after.key:
            return False
        one, other = self.first.request.protocol, plan.request.protocol
        settings = ["rotary_precision"]
        if after.asked.task.kind is Kind.GENERATION:
            settings += ["max_new_tokens", "cut_at_blank_line", "rouge_stemmer"]
        if any(getattr(one, name) != getattr(other, name) for name in settings):
            return True
        if before.dtype != after.dtype:
            return True
        return self._prompts(before, self.first) != self._prompts(after, plan)

    def _prompts(self, planned: PlannedCell, plan: Plan) -> str:
        """What `asked` says of a cell; those of several models have the same prompts."""
        if planned.prompts not in self._digests:
            job = Job(planned.asked, planned.rows, planned.demonstrations)
            self._digests[planned.prompts] = asked(job, self.tokenizer, plan.request.protocol)
        return self._digests[planned.prompts]


def asked(job: Job, tokenizer: Any, protocol: Protocol) -> str:
    """A digest of what a model is asked in a cell: rows, tokens of prompts and of labels."""
    made = encode_prompts(job, tokenizer, protocol)
    return _digest((made.rows, made.prompts, made.labels))


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()
