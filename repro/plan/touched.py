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
from repro.plan.plan import Plan, PlannedCell, PlannedModel
from repro.spec.protocol import Protocol
from repro.spec.tasks import Kind

_ENCODED = ("max_length", "truncation_side", "label_boundary")
"""Settings of fine-tunes that have no effect but on the tokens of their samples."""


@dataclass
class Touched:
    """Compares plans of one selection with a first one.

    Attributes:
        first: the plan that the others are compared with.
        tokenizer: of the base model.
    """

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
        if before.key == after.key or before.recipe is None or after.recipe is None:
            return before.key != after.key
        like = {name: getattr(before.recipe, name) for name in _ENCODED}
        if replace(after.recipe, **like) != before.recipe:
            return True
        if plan.protocol.rotary_precision != self.first.protocol.rotary_precision:
            return True
        return self._samples(before) != self._samples(after)

    def _samples(self, model: PlannedModel) -> str:
        """A digest of the samples that a model is trained on."""
        assert model.rows is not None
        assert model.template is not None
        assert model.recipe is not None
        # Seeds only order the samples.
        place = (model.variant, replace(model.recipe, seed=0), *sorted(model.facts.items()))
        if place not in self._digests:
            shown = [] if model.demonstrations is None else model.demonstrations.to_list()
            rows, template = model.rows.to_list(), model.template
            samples = encode(rows, shown, template, self.tokenizer, model.recipe, model.contexts)
            self._digests[place] = _digest(samples)
        return self._digests[place]

    def _asked_otherwise(self, before: PlannedCell, after: PlannedCell, plan: Plan) -> bool:
        if before.key == after.key:
            return False
        one, other = self.first.protocol, plan.protocol
        settings = ["rotary_precision"]
        if after.asked.task.kind is Kind.GENERATION:
            settings += ["max_new_tokens", "cut_at_blank_line", "rouge_stemmer"]
        if any(getattr(one, name) != getattr(other, name) for name in settings):
            return True
        if before.dtype != after.dtype:
            return True
        return self._prompts(before, self.first) != self._prompts(after, plan)

    def _prompts(self, planned: PlannedCell, plan: Plan) -> str:
        """What `asked` says of a cell."""
        # Cells of several models have the same prompts.
        if planned.prompts not in self._digests:
            job = Job(planned.asked, planned.rows, planned.demonstrations)
            self._digests[planned.prompts] = asked(job, self.tokenizer, plan.protocol)
        return self._digests[planned.prompts]


def asked(job: Job, tokenizer: Any, protocol: Protocol) -> str:
    """A digest of what a model is asked in a cell: rows, tokens of prompts and of labels."""
    made = encode_prompts(job, tokenizer, protocol)
    return _digest((made.rows, made.prompts, made.labels))


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()
