"""The vLLM engine against the kit's own: by a stand-in for vLLM everywhere, by vLLM on a GPU.

The stand-in has the names, arguments and shapes of vLLM 0.32.0 that the kit uses, and answers row
by row with a model of transformers.
"""

import json
import sys
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers.decoders import DecodeStream
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from repro import extras, profiles
from repro.cli import options
from repro.cli.main import cli
from repro.data.embedded import EmbeddedData
from repro.errors import ReproError
from repro.evaluate import Job, Settings, TorchEngine, evaluate
from repro.evaluate.encode import encode
from repro.evaluate.generate import stop_ids
from repro.evaluate.vllm import VllmEngine
from repro.machine import numerics as machine
from repro.models import doctor
from repro.models.load import load
from repro.models.spec import EMBEDDED, ModelSpec
from repro.plan import preflight
from repro.plan.store import Store
from repro.spec.cells import Cell
from repro.spec.tasks import Part
from repro.studies.paper.protocols import protocol
from repro.studies.paper.study import study
from repro.studies.paper.tasks import task_of

PUBLISHED, CORRECTED = protocol("published-code"), protocol("corrected")
SETTINGS = Settings(token_budget=4000, max_new_tokens=7)
NAMES = ["base.mnli1.p2.3", "base.paws.p1.0", "base.socialqa.p1.4", "base.xsum.p2.0"]


@dataclass
class SamplingParams:
    """With vLLM's defaults."""

    temperature: float = 1.0
    max_tokens: int | None = 16
    stop: list[str] | None = None
    stop_token_ids: list[int] | None = None
    logprob_token_ids: list[int] | None = None
    detokenize: bool = True


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None
    stop_reason: int | str | None


class LLM:
    """Answers as vLLM does; remembers how it was made and asked."""

    made: "list[LLM]" = []  # noqa: RUF012

    def __init__(
        self,
        model: str,
        *,
        tokenizer: str,
        dtype: str,
        seed: int,
        load_format: str,
        max_model_len: int | None,
        gpu_memory_utilization: float,
        enable_prefix_caching: bool,
        generation_config: str,
        logprobs_mode: str,
    ) -> None:
        assert logprobs_mode == "raw_logits"
        assert generation_config == "vllm"
        assert 0 < gpu_memory_utilization < 1
        assert (load_format, enable_prefix_caching, seed) == ("safetensors", True, 0)
        self.dtype, self.max_model_len = dtype, max_model_len
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        self.params: list[SamplingParams] = []
        self.running = True
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self._shutdown))
        LLM.made.append(self)

    def _shutdown(self) -> None:
        self.running = False

    def generate(
        self, prompts: list[dict[str, Any]], params: SamplingParams, *, use_tqdm: bool = True
    ) -> list[SimpleNamespace]:
        assert self.running
        self.params.append(params)
        done = []
        for prompt in prompts:
            ids = prompt["prompt_token_ids"]
            assert type(ids) is list
            assert 0 < len(ids) < self.max_model_len
            answer = self.complete(ids, params)
            done.append(SimpleNamespace(prompt_token_ids=ids, outputs=[answer], finished=True))
        return done

    @torch.no_grad()
    def complete(self, prompt: list[int], params: SamplingParams) -> CompletionOutput:
        assert params.temperature == 0
        stream = DecodeStream(ids=prompt, skip_special_tokens=True)
        text, tokens, logprobs = "", [], []
        reason: tuple[str, int | str | None] | None = None
        while reason is None:
            logits = self.model(input_ids=torch.tensor([prompt + tokens])).logits[0, -1].float()
            token = int(logits.argmax())
            tokens.append(token)
            asked = [token, *(params.logprob_token_ids or ())]
            logprobs.append({id_: Logprob(logits[id_].item()) for id_ in asked})
            if token == self.tokenizer.eos_token_id:
                reason = "stop", None
            elif token in (params.stop_token_ids or ()):
                reason = "stop", token
            elif len(tokens) == params.max_tokens:
                reason = "length", None
            if params.detokenize and (reason is None or reason[0] == "length"):
                text += stream.step(self.tokenizer._tokenizer, token) or ""
                for stop in params.stop or ():
                    if stop in text:
                        reason, text = ("stop", stop), text[: text.index(stop)]
        wanted = logprobs if params.logprob_token_ids else None
        return CompletionOutput(0, text, tokens, wanted, *reason)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets back what the engine sets for vLLM."""
    for name in ("VLLM_NO_USAGE_STATS", "VLLM_LOGGING_LEVEL", "VLLM_WORKER_MULTIPROC_METHOD"):
        monkeypatch.setenv(name, "")


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> type[LLM]:
    """The stand-in, installed."""
    module = ModuleType("vllm")
    module.LLM = LLM
    module.SamplingParams = SamplingParams
    module.TokensPrompt = dict
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(LLM, "made", [])
    return LLM


@pytest.fixture(scope="module")
def folder(llama: LlamaForCausalLM, words: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama of these tests as the store would hold it."""
    path = tmp_path_factory.mktemp("llama")
    llama.save_pretrained(path)
    words.save_pretrained(path)
    return path


def by_vllm(folder: Path, jobs: list[Job], switches: Any = PUBLISHED) -> dict[Cell, Any]:
    with VllmEngine(folder, dtype="float32") as engine:
        return dict(evaluate(engine, jobs, switches, SETTINGS))


def by_torch(folder: Path, jobs: list[Job], switches: Any = PUBLISHED) -> dict[Cell, Any]:
    with TorchEngine(*load(folder), SETTINGS) as engine:
        return dict(evaluate(engine, jobs, switches, SETTINGS))


def assert_alike(found: dict[Cell, Any], expected: dict[Cell, Any], bound: float = 1e-4) -> None:
    """The same records but for the last digits of logits."""
    assert list(found) == list(expected)
    for cell, samples in found.items():
        for sample, other in zip(samples, expected[cell], strict=True):
            logits = sample.get("logits", {}), other.get("logits", {})
            assert list(logits[0]) == list(logits[1])
            assert logits[0] == pytest.approx(logits[1], abs=bound)
            assert sample | {"logits": 0} == other | {"logits": 0}


@pytest.mark.parametrize("switches", [PUBLISHED, CORRECTED])
def test_records_are_those_of_the_own_engine(folder, vllm, make_job, switches):
    jobs = [make_job(name, 12) for name in NAMES]
    found = by_vllm(folder, jobs, switches)
    assert_alike(found, by_torch(folder, jobs, switches))
    stopped = {sample.get("stopped") for samples in found.values() for sample in samples}
    assert stopped == {None, "eos", "blank-line", "length"}
    texts = [params for params in vllm.made[0].params if not params.logprob_token_ids]
    assert [params.stop for params in texts] == [["\n\n"], ["\n\n"]]


def test_without_the_cut_a_blank_line_is_text(folder, vllm, make_job):
    switches = replace(PUBLISHED, cut_at_blank_line=False)
    jobs = [make_job("base.xsum.p1.0", 12)]
    found = by_vllm(folder, jobs, switches)
    assert_alike(found, by_torch(folder, jobs, switches))
    ((samples),) = found.values()
    assert any("\n\n" in sample["text"] for sample in samples)
    assert vllm.made[0].params[0].stop is None


def test_records_on_the_embedded_world_are_those_of_the_own_engine(vllm):
    data = EmbeddedData()
    jobs = []
    for name in ("base.amazon.p1.4", "base.paws.p2.0", "base.socialqa.p1.1", "base.xsum.p1.0"):
        cell = Cell.parse(name)
        rows = data.rows(Part("test", cell.dataset), task_of(Part("test", cell.dataset))).select(
            range(5)
        )
        jobs.append(
            Job(
                study().evaluation(cell),
                rows,
                data.rows(
                    Part("demonstrations", cell.dataset),
                    task_of(Part("demonstrations", cell.dataset)),
                ),
            )
        )
    assert_alike(by_vllm(EMBEDDED, jobs), by_torch(EMBEDDED, jobs))


@pytest.mark.parametrize("source", ["generation_config.json", "config.json"])
def test_the_ids_that_end_a_text_are_those_of_the_own_engine(
    folder, vllm, llama, words, make_job, tmp_path, source
):
    llama.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    told = json.loads((tmp_path / "config.json").read_text()) if source == "config.json" else {}
    (tmp_path / source).write_text(json.dumps(told | {"eos_token_id": [2, 11, 12]}))
    jobs = [make_job("base.xsum.p1.0", 12)]
    found = by_vllm(tmp_path, jobs)
    assert_alike(found, by_torch(tmp_path, jobs))
    assert found != by_vllm(folder, jobs)
    model, tokenizer = load(tmp_path)
    expected = stop_ids(model.generation_config, tokenizer)
    assert vllm.made[0].params[0].stop_token_ids == sorted(expected) == [2, 11, 12]


def test_it_is_made_for_the_model_and_ends_with_its_block(folder, vllm):
    with VllmEngine(folder, dtype="bfloat16") as engine:
        (made,) = vllm.made
        assert made.running
        assert made.dtype == "bfloat16"
        assert made.max_model_len == engine.positions == 2048
    assert not made.running


def test_scoring_takes_a_position_behind_the_prompt(folder, vllm, make_job, monkeypatch):
    job = make_job("base.paws.p1.4")
    with VllmEngine(folder, dtype="float32") as engine:
        longest = max(map(len, encode(job, engine.tokenizer, PUBLISHED).prompts))
        engine.positions = longest + 1
        ((_, samples),) = evaluate(engine, [job], PUBLISHED, SETTINGS)
        assert len(samples) == 7
        engine.positions = longest
        with pytest.raises(ReproError, match=f"{longest + 1} tokens.* {longest} positions"):
            list(evaluate(engine, [job], PUBLISHED, SETTINGS))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"finish_reason": "abort"}, r"abort \(None\)"),
        ({"token_ids": [7, 8], "finish_reason": "stop", "stop_reason": "x"}, r"stop \('x'\)"),
    ],
)
def test_a_text_that_is_not_at_its_end_is_refused(
    folder, vllm, make_job, monkeypatch, change, said
):
    short = CompletionOutput(0, "", [7, 8], None, "length", None)
    monkeypatch.setattr(vllm, "complete", lambda *asked: replace(short, **change))
    with pytest.raises(ReproError, match=said) as raised:
        by_vllm(folder, [make_job("base.xsum.p1.0")])
    assert raised.value.exit_code == 1
    assert "--engine torch" in raised.value.hint


def test_logits_that_are_no_numbers_are_refused(folder, vllm, make_job, monkeypatch):
    def broken(self: LLM, prompt: list[int], params: SamplingParams) -> CompletionOutput:
        logprobs = [{token: Logprob(float("nan")) for token in params.logprob_token_ids}]
        return CompletionOutput(0, "", [7], logprobs, "length", None)

    monkeypatch.setattr(vllm, "complete", broken)
    with pytest.raises(ReproError, match="not finite") as raised:
        by_vllm(folder, [make_job("base.paws.p1.0")])
    assert raised.value.exit_code == 1


def test_a_changed_prompt_is_noticed(folder, vllm, make_job, monkeypatch):
    generate = vllm.generate

    def with_bos(self: LLM, prompts: Any, params: Any, **more: Any) -> Any:
        done = generate(self, prompts, params, **more)
        for request in done:
            request.prompt_token_ids = [1, *request.prompt_token_ids]
        return done

    monkeypatch.setattr(vllm, "generate", with_bos)
    with pytest.raises(AssertionError, match="vLLM changed a prompt"):
        by_vllm(folder, [make_job("base.paws.p1.0")])


def test_without_the_package_it_says_where_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ReproError, match="package vllm is not installed") as raised:
        VllmEngine(folder, dtype="float32")
    assert raised.value.exit_code == 3
    assert "repro docker build --variant vllm" in raised.value.hint


PART = ["--cells", "base.amazon.p1.0,base.socialqa.p1.0", "--rows", "3"]


def command(folder: Path, out: str, *words: str) -> None:
    where = ["--out", str(folder / out), "--store", str(folder / "store")]
    cli.main(["run", *where, *PART, *words], standalone_mode=False)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_results_of_two_engines_never_mix(vllm, tmp_path, monkeypatch):
    """On the CPU, since the stand-in can; the same store, so that cells could be taken from it."""
    monkeypatch.setattr(options, "_check_vllm", lambda *asked: None)
    monkeypatch.setattr(preflight, "require", lambda *asked, **how: [])
    monkeypatch.setattr(machine, "installed", lambda package: "0.32.0")
    command(tmp_path, "torch")
    assert not vllm.made
    command(tmp_path, "vllm", "--engine", "vllm")
    assert len(vllm.made) == 1
    own, other = (read(tmp_path / name / "results.jsonl") for name in ("torch", "vllm"))
    assert [line["cell"] for line in own] == [line["cell"] for line in other]
    assert [line["model_key"] for line in own] == [line["model_key"] for line in other]
    assert not {line["key"] for line in own} & {line["key"] for line in other}
    for line in own:
        name = line["samples"]
        for sample, expected in zip(
            read(tmp_path / "vllm" / name), read(tmp_path / "torch" / name), strict=True
        ):
            assert sample.get("logits") == pytest.approx(expected.get("logits"), abs=1e-3)
            assert sample | {"logits": 0} == expected | {"logits": 0}
    identities = [
        json.loads((tmp_path / name / "run.json").read_text())["identity"]
        for name in ("torch", "vllm")
    ]
    assert identities[1] == identities[0] | {"engine": "vllm 0.32.0"}
    for out, engine in (("torch", "vllm"), ("vllm", "torch")):
        with pytest.raises(ReproError, match="another run: engine differ"):
            command(tmp_path, out, "--engine", engine)


@pytest.mark.parametrize(
    ("words", "said", "flag"),
    [
        ([], "profile embedded computes on the CPU", "--profile small"),
        (
            ["--profile", "small", "--set", "rotary_precision=rounded"],
            "rotary_precision=rounded",
            "--set rotary_precision=float32",
        ),
    ],
)
def test_what_vllm_cannot_do_is_refused(words, said, flag):
    with pytest.raises(ReproError, match=said) as raised:
        cli.main(["run", "--engine", "vllm", *words], standalone_mode=False)
    assert raised.value.exit_code == 2
    assert raised.value.hint.startswith("--engine torch, or")
    assert flag in raised.value.hint


def test_the_doctor_speaks_of_vllm_only_when_asked(tmp_path, monkeypatch):
    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    asked = ['click==8.5.1; extra == "other"', 'vllm==0.32.0; extra == "vllm"']
    monkeypatch.setattr(doctor, "requirements", lambda: asked)
    monkeypatch.setattr(extras, "version", absent)
    profile = profiles.load("small")
    spec = ModelSpec.from_table(profile.model, profile.origin)

    def packages(engine: str) -> list[tuple[str, str]]:
        found = preflight.machine_findings(profile, spec, Store(tmp_path), [], engine=engine)
        return [(f.what, f.level) for f in found if f.what.startswith("package")]

    assert packages("torch") == [("packages", "ok")]
    assert packages(machine.engine("vllm")) == [("package vllm", "fail")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="vLLM needs a GPU")
@pytest.mark.filterwarnings("default")
def test_vllm_itself_answers_like_the_own_engine(words, make_job, tmp_path):
    """Has not been run so far, for want of a GPU with vLLM."""
    pytest.importorskip("vllm", exc_type=ImportError)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,  # of size 64, which all of vLLM's attention kernels have
        max_position_embeddings=2048,
        initializer_range=0.4,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[2:4] *= 2
    model.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    jobs = [make_job(name, 12) for name in NAMES]
    assert_alike(by_vllm(tmp_path, jobs), by_torch(tmp_path, jobs), bound=1e-2)
