"""A tiny LLaVA saved by transformers, and a tiny ScienceQA: same logits, same steps; absent folders are refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dualpriv_world import STREAMS, ledger, recipe

from descent.core.checkpoint import NoCheckpoint
from descent.core.errors import DataError
from descent.core.job import Job, Variant
from descent.papers.dualpriv.checkpoint_accuracy import Noise, State, Task, gradient, logits_of, private_step, run
from descent.papers.dualpriv.llava import embedded, encode, load_checkpoint, science_qa, visual_tokens
from descent.papers.dualpriv.lora import layout
from descent.papers.dualpriv.room import ROOM

CPU = torch.device("cpu")
WORDS = [
    "[UNK]",
    "<s>",
    "<image>",
    *"ABCDEFGH",
    "USER",
    ":",
    "ASSISTANT",
    "What",
    "is",
    "this",
    "Answer",
    "a",
    "b",
    ".",
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llava")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=7
        ),
        text_config=LlamaConfig(
            vocab_size=32, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
            num_key_value_heads=3, rms_norm_eps=1e-5,
        ),
        image_token_index=2,
        initializer_range=0.2,
    )  # fmt: skip
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder / "model")
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(
        folder / "model"
    )
    transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(
        folder / "model"
    )
    write_science_qa(folder / "data")
    return folder


def write_science_qa(folder):
    from PIL import Image

    problems = {}
    for number in range(12):
        split = "train" if number < 8 else "test"
        problems[str(number)] = {
            "question": "What is this .", "choices": ["a", "b", "a b"], "answer": number % 3, "split": split,
            "image": None if number == 2 else "image.png",
        }  # fmt: skip
        home = folder / "images" / split / str(number)
        home.mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(home / "image.png")
    (folder / "problems.json").write_text(json.dumps(problems))


@pytest.fixture(scope="module")
def loaded(folders):
    return load_checkpoint(folders / "model", CPU, torch.float32)


def test_without_an_adapter_the_logits_are_those_of_transformers(folders, loaded):
    from transformers import LlavaForConditionalGeneration

    net = LlavaForConditionalGeneration.from_pretrained(folders / "model", attn_implementation="eager").eval()
    [record] = encode(loaded, science_qa(folders / "data", "train", 1), None, 0)
    task = Task(loaded, layout(loaded.shape, 2, 4.0), [record])
    x = embedded(loaded, record)
    assert x.shape == (1, 1, len(record.before) + 16 + len(record.after), 24)
    with torch.no_grad():
        got = logits_of(task, torch.zeros(1, task.layout.size), record)
        language = net.model.language_model(inputs_embeds=x[0]).last_hidden_state
        torch.testing.assert_close(got, net.lm_head(language)[0, -1], atol=1e-4, rtol=1e-4)


def test_visual_tokens_are_the_ones_that_llava_itself_uses(folders, loaded):
    pixels = torch.randn(2, 3, 28, 28)
    full = visual_tokens(loaded, pixels, None, 0)
    with torch.no_grad():
        hidden = loaded.tower(pixels, output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(full, hidden[:, 1:])
    pruned = visual_tokens(loaded, pixels, 5, 2)
    assert pruned.shape == (2, 7, 16)
    # Every kept patch is a row of H; all 16 kept is H.
    assert ((pruned[0, :5, None] - full[0]).abs().sum(-1).min(-1).values == 0).all()
    torch.testing.assert_close(visual_tokens(loaded, pixels, 16, 0), full)


def test_the_fused_tokens_alone_get_noise_of_the_size_that_is_asked_for(folders, loaded):
    examples = science_qa(folders / "data", "train", 3)
    without = list(encode(loaded, examples, 5, 2))
    noisy = list(encode(loaded, examples, 5, 2, fuse_std=0.3, generator=torch.Generator().manual_seed(4)))
    drawn = torch.randn((3, 2, 16), generator=torch.Generator().manual_seed(4))
    for before, after, own in zip(without, noisy, drawn, strict=True):
        assert torch.equal(after.hidden[:-2], before.hidden[:-2])
        torch.testing.assert_close(after.hidden[-2:] - before.hidden[-2:], 0.3 * own, atol=1e-6, rtol=1e-4)


def test_gradients_equal_finite_differences(folders, loaded):
    records = list(encode(loaded, science_qa(folders / "data", "train", 2), None, 0))
    task = Task(loaded, layout(loaded.shape, 2, 4.0), records)
    theta = 0.1 * torch.randn(1, task.layout.size, generator=torch.Generator().manual_seed(1))
    g = torch.cat(gradient(task, theta, records[0]), -1)[0]
    z = torch.randn(1, task.layout.size, generator=torch.Generator().manual_seed(2))

    def loss(at):
        return torch.nn.functional.cross_entropy(
            logits_of(task, at, records[0])[None], torch.tensor([records[0].answer])
        )

    with torch.no_grad():
        slope = (loss(theta + 1e-2 * z) - loss(theta - 1e-2 * z)) / 2e-2
    assert (g * z).sum().item() == pytest.approx(slope.item(), rel=2e-2, abs=1e-3)


def test_steps_do_what_they_say(folders, loaded):
    records = list(encode(loaded, science_qa(folders / "data", "train"), 5, 2))
    task = Task(loaded, layout(loaded.shape, 2, 4.0), records)
    assert len(records) == 7  # one has no image
    theta = 0.1 * torch.randn(1, task.layout.size, generator=torch.Generator().manual_seed(1))
    book = ledger(records=7, batch=3)
    normal = torch.randn(1, task.layout.size, generator=torch.Generator().manual_seed(3))
    dpsgd, dual, dpzo = (recipe(name, step_size=0.5, keep=0.8, probe=1e-2) for name in ("dpsgd", "dual", "dpzo"))
    noise = Noise((1, 4), normal, torch.tensor([0.3]))
    moved = private_step(task, dpsgd, book, State(theta, 0), noise)
    total = book.noise_std * normal
    for i in (1, 4):
        g = torch.cat(gradient(task, theta, records[i]), -1)[0]
        total = total + g * min(1.0, 1 / (g.norm().item() + 1e-6))
    torch.testing.assert_close(moved.theta, theta - 0.5 * total / 3, atol=1e-6, rtol=1e-5)
    pruned = private_step(task, dual, book, State(theta, 0), noise)
    same = pruned.theta == theta
    dropped = sum(bool(same[0, b.start : b.start + b.size].all()) for b in task.layout.blocks)
    assert dropped == len(task.layout.blocks) - round(0.8 * len(task.layout.blocks)) and pruned.step == 1
    empty = private_step(task, dpzo, book, State(theta, 0), Noise((), normal, torch.tensor([0.3])))
    torch.testing.assert_close(empty.theta, theta - 0.5 * (book.noise_std * 0.3 / 3) * normal)


@pytest.mark.parametrize("clip", [400.0, 1e-3])  # beyond every slope, and below
def test_a_zeroth_order_step_adds_clipped_slopes_along_its_direction(folders, loaded, clip):
    records = list(encode(loaded, science_qa(folders / "data", "train"), 5, 2))
    task = Task(loaded, layout(loaded.shape, 2, 4.0), records)
    theta, z = (
        torch.randn(1, task.layout.size, generator=torch.Generator().manual_seed(s)) * c for s, c in ((1, 0.1), (3, 1))
    )
    book = ledger(records=7, batch=3, clip_norm=clip)

    def loss(at, record):
        return torch.nn.functional.cross_entropy(logits_of(task, at, record)[None], torch.tensor([record.answer]))

    with torch.no_grad():
        slopes = [(loss(theta + 0.05 * z, records[i]) - loss(theta - 0.05 * z, records[i])) / 0.1 for i in (1, 4)]
        got = private_step(
            task,
            recipe("dpzo", step_size=0.5, probe=0.05),
            book,
            State(theta, 0),
            Noise((1, 4), z, torch.tensor([0.3])),
        )
    assert all((abs(s) > clip) == (clip < 1) for s in slopes)
    total = sum(s.clamp(-clip, clip) for s in slopes) + book.noise_std * 0.3
    torch.testing.assert_close(got.theta, theta - 0.5 * total / 3 * z)


def test_a_job_trains_and_records_its_privacy(folders):
    params = {
        "checkpoint_dir": str(folders / "model"), "data_dir": str(folders / "data"), "most_records": None, "test_records": 4,
        "epsilon": "3", "delta": 1e-5, "accountant": "rdp", "noise_multiplier": None, "steps": 2, "batch": 3, "rank": 2,
        "alpha": 4.0, "step_size": 0.5, "keep": 0.8, "probe": 1e-3, "dominant": 5, "contextual": 2, "fuse_noise": "sigmaC/B", "clip_norm": 1.0,
        "slope_clip": 4.0, "micro_batch": None,
    }  # fmt: skip
    variants = tuple(Variant(m, {}, params, (500,), takes=ROOM.methods[m].settings) for m in ("dual", "dpsgd", "dpzo"))
    job = Job("dualpriv", "llava", "all", "paper", "train", "descent.papers.dualpriv.checkpoint_accuracy", (), variants)
    context = SimpleNamespace(device=CPU, streams=STREAMS, checkpoint=NoCheckpoint(), say=lambda text: None)
    frame = run(job, context).frame(job)
    assert set(frame["method"]) == {"dual", "dpsgd", "dpzo"} and (frame["status"] == "ok").all()
    spent = frame[frame["metric"] == "epsilon_spent"]["value"]
    assert (spent <= 3).all() and frame[frame["metric"] == "accuracy"]["value"].between(0, 1).all()


@pytest.mark.parametrize("folder", ["", "/nonexistent"])
def test_an_absent_checkpoint_is_refused_in_one_sentence(folder):
    with pytest.raises(DataError, match="no local checkpoint: `checkpoint_dir` must be a folder"):
        load_checkpoint(folder, CPU)


def test_an_absent_data_set_or_image_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no local ScienceQA: `data_dir` must hold problems\.json"):
        science_qa(tmp_path, "train")
    problem = {"question": "?", "choices": ["a"], "answer": 0, "split": "train", "image": "image.png"}
    (tmp_path / "problems.json").write_text(json.dumps({"1": problem}))
    with pytest.raises(DataError, match=r"image\.png is missing"):
        science_qa(tmp_path, "train")


def test_another_decoder_is_refused(folders, tmp_path):
    import shutil

    shutil.copytree(folders / "model", tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["rms_norm_eps"] = 1e-6
    path.write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"only LLaVA-1\.5's decoder is supported: `rms_norm_eps` must be 1e-05"):
        load_checkpoint(tmp_path / "model", CPU, torch.float32)
