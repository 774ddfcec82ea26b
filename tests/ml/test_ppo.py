"""PPOTrainer: what it makes of TRL's rollouts, what an update does, and what a checkpoint holds."""

import inspect
import json

import pytest
import torch
from peft import LoraConfig
from torch import nn
from transformers import GPT2Config, GPT2Model, LlamaForCausalLM, TrainerCallback
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from pipeline.ml.rewards.reward_model import Calibration
from pipeline.ml.trainers.critic import Critic
from pipeline.ml.trainers.ppo import METRICS
from pipeline.ml.trainers.ppo_trainer import PPOConfig, PPOTrainer
from pipeline.ml.trainers.repeatable import prompt_order
from tests.ml.ppo_toy import EOS, PAD, rollout, save_toy, toy_prompts, toy_tokenizer, toy_trainer


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return save_toy(tmp_path_factory.mktemp("toy"))


def weights(trainer):
    """Weights of the policy and the critic in one vector."""
    parts = [*trainer.model.parameters(), *trainer.critic.parameters()]
    return torch.cat([part.detach().flatten() for part in parts]).clone()


def first_ratios(trainer, batch):
    """ρ of every real token of the first minibatch, before any update."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    with torch.no_grad():
        logprobs, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, attention, batch["completion_ids"].size(1)
        )
    return (logprobs - batch["old_per_token_logps"]).exp()[batch["completion_mask"].bool()]


# -- rollouts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_before_the_first_update_the_policy_is_the_one_that_sampled(toy, tmp_path, temperature):
    trainer = toy_trainer(toy, tmp_path, temperature=temperature)
    assert (first_ratios(trainer, rollout(trainer)) - 1).abs().max() == 0.0


def test_dropout_of_every_kind_is_off(tmp_path):
    trainer = toy_trainer(save_toy(tmp_path / "toy", attention_dropout=0.3), tmp_path)
    assert (first_ratios(trainer, rollout(trainer)) - 1).abs().max() == 0.0


def test_the_ratio_shows_dropout(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path)
    batch = rollout(trainer)
    for layer in trainer.model.model.layers:
        layer.self_attn.attention_dropout = 0.1
    assert (first_ratios(trainer, batch) - 1).abs().max() > 1e-4


def test_the_ratio_shows_a_temperature_that_is_applied_only_once(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path, temperature=0.7)
    batch = rollout(trainer)
    add_fused_lm_head(trainer.model, temperature=1.0, outputs=("log_probs", "entropy"))
    assert (first_ratios(trainer, batch) - 1).abs().max() > 1e-2


def test_a_rollout_without_trls_own_log_probabilities_computes_them(toy, tmp_path):
    settings = {"steps_per_generation": 4, "gradient_accumulation_steps": 4, "num_iterations": 1}
    trainer = toy_trainer(toy, tmp_path, **settings)
    assert (first_ratios(trainer, rollout(trainer)) - 1).abs().max() == 0.0


class ColumnIndex(nn.Module):
    """A critic that answers with the number of the column."""

    def forward(self, input_ids, attention_mask):
        return torch.arange(input_ids.size(1), dtype=torch.float32).expand(input_ids.shape)


def test_the_value_of_a_token_is_that_of_the_state_before_it(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path)
    trainer.critic = ColumnIndex()
    batch = rollout(trainer)
    prompt, answer = batch["prompt_ids"].size(1), batch["completion_ids"].size(1)
    expected = prompt - 1 + torch.arange(answer, dtype=torch.float32)
    torch.testing.assert_close(batch["old_values"], expected.expand(16, answer), atol=0, rtol=0)


def test_only_the_end_differs_between_two_scores(toy, tmp_path):
    """The same rollout scored 0 and 1: returns at λ = 1 differ by 1 at every real token, rewards in one cell."""
    rewards = []
    for score in (0.0, 1.0):
        trainer = toy_trainer(toy, tmp_path, reward=lambda completions, s=score, **_: [s] * len(completions))
        trainer.args.lam = 0.0
        trainer.critic = ColumnIndex()
        batch = rollout(trainer)
        following = torch.zeros_like(batch["old_values"])
        real = batch["loss_mask"].bool()
        following[:, :-1] = torch.where(real[:, 1:], batch["old_values"][:, 1:], 0.0)
        rewards.append(torch.where(real, batch["returns"] - following, 0.0))  # r_t = return_t - V_{t+1} at λ = 0
    changed = (rewards[1] - rewards[0]).round(decimals=4)
    lengths = batch["loss_mask"].sum(dim=1)
    expected = torch.zeros_like(changed)
    expected[torch.arange(16), lengths - 1] = 1.0
    torch.testing.assert_close(changed, expected)


def test_an_answer_without_an_end_loses_the_penalty(toy, tmp_path):
    trainer = toy_trainer(
        toy, tmp_path, missing_eos_penalty=0.75, reward=lambda completions, **_: [2.0] * len(completions)
    )
    seen = {}
    original = trainer._scores
    trainer._scores = lambda batch: seen.setdefault("score", original(batch)) if not seen.update(batch) else None
    rollout(trainer)
    ends = torch.tensor([EOS in row for row in seen["completion_ids"].tolist()])
    assert 0 < ends.sum() < 64
    torch.testing.assert_close(seen["score"], torch.where(ends, 2.0, 1.25))


def test_scores_are_calibrated_and_reported_raw(toy, tmp_path):
    reward = lambda completions, **_: [10.0 + 2 * (i % 2) for i in range(len(completions))]  # noqa: E731
    trainer = toy_trainer(toy, tmp_path, reward=reward)
    trainer._means, trainer._deviations = torch.tensor([11.0]), torch.tensor([2.0])
    rollout(trainer)
    metrics = trainer._metrics["train"]
    assert metrics["reward"] == [11.0]
    assert metrics["score"] == [0.0]


def test_an_answer_that_nothing_could_score_teaches_nothing(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path, reward=lambda completions, **_: [None, 1.0] * (len(completions) // 2))
    batch = rollout(trainer)
    silent = batch["loss_mask"].sum(dim=1) == 0
    assert 0 < silent.sum() < 16
    assert batch["advantages"][silent].abs().sum() == 0
    assert batch["returns"][silent].abs().sum() == 0
    assert trainer._metrics["train"]["unscorable_share"] == [0.5]
    everything = sum(part["loss_mask"].sum() for part in trainer._buffered_inputs)
    assert batch["num_items_in_batch"] == everything


def test_the_order_of_prompts_covers_all_before_it_repeats_any():
    order = prompt_order(5, 12, seed=3)
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5))
    assert order[:5] != order[5:10]
    assert order == prompt_order(5, 12, seed=3)
    assert order != prompt_order(5, 12, seed=4)


def test_fewer_prompts_than_a_rollout_takes_are_repeated(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path, prompts=toy_prompts().select(range(3)))
    trainer.train()
    assert trainer.state.global_step == 16


def test_long_prompts_lose_their_beginning(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path, max_prompt_length=1)
    ids, _, _ = trainer._tokenize_prompts(["w9 w8 w7", "w6"])
    assert ids == [[7], [6]]


def test_log_probabilities_are_the_same_with_and_without_padding(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path)
    bare = torch.tensor([[9, 8, 20, 21, 22]])
    padded = torch.tensor([[PAD, PAD, PAD, 9, 8, 20, 21, 22]])
    results = [
        trainer._get_per_token_logps_and_entropies(trainer.model, ids, (ids != PAD).long(), 3)[0]
        for ids in (bare, padded)
    ]
    torch.testing.assert_close(*results, atol=1e-5, rtol=0)
    nn.init.normal_(trainer.critic.head.weight)
    values = [trainer.critic(ids, (ids != PAD).long())[:, -3:] for ids in (bare, padded)]
    torch.testing.assert_close(*values, atol=1e-5, rtol=0)


# -- updates ------------------------------------------------------------------------------------------------


def trained_in_pieces(toy, output, micro_batch):
    """Weights after 4 updates of 16 answers, each update fed in micro-batches of the given size."""
    pieces = 16 // micro_batch
    trainer = toy_trainer(
        toy,
        output,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=pieces,
        steps_per_generation=4 * pieces,
        num_iterations=1,
        max_steps=4,
    )
    trainer.train()
    return weights(trainer)


def test_splitting_an_update_into_micro_batches_changes_nothing(toy, tmp_path):
    whole = trained_in_pieces(toy, tmp_path, 16)
    for micro_batch in (8, 4):
        assert (trained_in_pieces(toy, tmp_path, micro_batch) - whole).abs().max() < 2e-5


def test_splitting_shows_when_each_micro_batch_counts_its_own_tokens(toy, tmp_path, monkeypatch):
    whole = trained_in_pieces(toy, tmp_path, 16)
    monkeypatch.setattr(PPOTrainer, "_normalizer", lambda self, inputs: inputs["loss_mask"].sum())
    assert (trained_in_pieces(toy, tmp_path, 4) - whole).abs().max() > 1e-3


def test_the_optimizer_has_the_critic_with_its_own_learning_rate(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path, learning_rate=2e-3, critic_learning_rate=5e-4)
    groups = trainer.create_optimizer().param_groups
    assert [group["lr"] for group in groups] == [2e-3, 2e-3, 5e-4]
    assert sum(p.numel() for p in groups[-1]["params"]) == sum(p.numel() for p in trainer.critic.parameters())
    assert trainer.create_optimizer().param_groups is groups


def gradients_at_each_update(trainer):
    """(norm of the policy's gradient or None, norm of the critic's) as each optimizer update sees them."""
    seen = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            seen.append((norm(trainer.model), norm(trainer.critic)))

    def norm(model):
        present = [p.grad.norm() for p in model.parameters() if p.grad is not None]
        return torch.stack(present).norm().item() if present else None

    trainer.add_callback(Watch())
    trainer.train()
    return seen


def test_the_critics_gradient_is_clipped_and_does_not_pile_up(toy, tmp_path):
    reward = lambda completions, **_: [3.0] * len(completions)  # noqa: E731
    norms = gradients_at_each_update(
        toy_trainer(toy, tmp_path, reward=reward, critic_max_grad_norm=0.01, max_steps=16)
    )
    assert all(critic <= 0.0101 for _, critic in norms)
    free = gradients_at_each_update(
        toy_trainer(toy, tmp_path, reward=reward, critic_max_grad_norm=1e9, critic_learning_rate=1e-12)
    )
    # the critic stands still, so each epoch meets the same gradients; piled up, they would grow fourfold
    assert free[8][1] == pytest.approx(free[0][1], rel=1e-3)


def test_the_first_updates_can_be_the_critics_alone(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path, critic_warmup_updates=2)
    norms = gradients_at_each_update(trainer)
    assert [policy is None for policy, _ in norms] == [True, True] + [False] * 14
    assert all(critic is not None for _, critic in norms)


def test_a_rollout_is_dropped_once_the_policy_has_moved_too_far(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path, update_kl_limit=1e-3, max_steps=32)
    norms = gradients_at_each_update(trainer)
    assert norms[0] != (None, None)
    assert norms[15] == (None, None)
    assert norms[16] != (None, None)  # the next rollout begins anew


def test_the_kl_coefficient_adapts_once_a_rollout(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path, kl_coef=0.1, kl_target=1e-6, kl_horizon=640, max_steps=48)
    trainer.train()
    # KL is 0 in the first rollout (down by 0.2 · 64/640), far over the target in the others (up by as much)
    assert trainer.kl_controller.coef == pytest.approx(0.1 * 0.98 * 1.02 * 1.02)


def test_every_metric_is_reported(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path)
    trainer.train()
    logged = trainer.state.log_history[0]
    assert [name for name in METRICS if name not in logged] == []
    assert logged["ratio_max"] > 1
    assert 0 < logged["length"] <= 8
    assert logged["entropy"] == pytest.approx(3.46, abs=0.3)  # ln 32: the toy starts out undecided


def test_lora_trains_adapters_against_the_base_as_reference(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path, peft_config=LoraConfig(r=4, target_modules="all-linear"), max_steps=32)
    batch = rollout(trainer)
    torch.testing.assert_close(batch["old_per_token_logps"], batch["ref_per_token_logps"])
    trainer._step, trainer._buffered_inputs = 0, None
    trainer.train()
    assert trainer.ref_model is None
    assert not torch.equal(
        trainer._buffered_inputs[0]["old_per_token_logps"], trainer._buffered_inputs[0]["ref_per_token_logps"]
    )


# -- critic -------------------------------------------------------------------------------------------------


def test_a_critic_starts_at_zero(toy):
    ids = torch.randint(4, 30, (2, 5))
    assert Critic.from_policy(toy)(ids, torch.ones_like(ids)).abs().max() == 0


def test_a_critic_counts_positions_from_the_first_real_token():
    """A model that learns its positions, unlike the toy's, would otherwise read a padded prompt as a later one."""
    torch.manual_seed(0)
    critic = Critic(GPT2Model(GPT2Config(vocab_size=32, n_embd=32, n_layer=2, n_head=2, n_positions=16)))
    nn.init.normal_(critic.head.weight)
    bare = torch.tensor([[9, 8, 20]])
    padded = torch.tensor([[PAD, PAD, 9, 8, 20]])
    values = critic(bare, torch.ones_like(bare)), critic(padded, (padded != PAD).long())[:, 2:]
    torch.testing.assert_close(*values, atol=1e-5, rtol=0)


# -- checkpoints --------------------------------------------------------------------------------------------


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_training_stop = True


RESUMABLE = {"max_steps": 96, "save_strategy": "steps", "save_steps": 48, "kl_target": 0.5, "kl_horizon": 640}


def test_a_resumed_run_ends_where_a_straight_one_does(toy, tmp_path):
    straight = toy_trainer(toy, tmp_path / "straight", **RESUMABLE)
    straight.train()
    cut = toy_trainer(toy, tmp_path / "cut", callbacks=[StopAt(48)], **RESUMABLE)
    cut.train()
    resumed = toy_trainer(toy, tmp_path / "cut", **RESUMABLE)
    resumed.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-48"))
    assert (weights(cut) - weights(straight)).abs().max() > 1e-3
    assert (weights(resumed) - weights(straight)).abs().max() < 1e-6
    assert resumed.kl_controller.coef == straight.kl_controller.coef
    assert resumed._step == straight._step == 96


def test_a_checkpoint_holds_what_is_needed_to_go_on(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path, **{**RESUMABLE, "max_steps": 48})
    trainer.train()
    names = {file.name for file in (tmp_path / "checkpoint-48").iterdir()}
    assert {"model.safetensors", "critic.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"} <= names
    state = json.loads((tmp_path / "checkpoint-48" / "ppo_state.json").read_text())
    assert state == {"kl_controller": {"coef": trainer.kl_controller.coef}, "micro_batches": 48}


# -- settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_truncated_completions": True}, "mask_truncated_completions"),
        ({"disable_dropout": False}, "disable_dropout"),
        ({"top_p": 0.9}, "top_p"),
        ({"beta": 0.0}, "beta"),
        ({"use_vllm": True, "vllm_importance_sampling_correction": False}, "importance_sampling_correction"),
        ({"save_strategy": "steps", "save_steps": 24}, "multiple of the 16 updates"),
        ({"gradient_accumulation_steps": 3}, "multiple of gradient_accumulation_steps"),
        ({"max_steps": 24}, "max_steps"),
    ],
)
def test_settings_that_would_spoil_ppo_are_refused(toy, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        toy_trainer(toy, tmp_path, **settings)


def test_padding_must_not_be_the_end_of_an_answer(toy, tmp_path):
    tokenizer = toy_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    with pytest.raises(ValueError, match="padding token must differ"):
        PPOTrainer(
            model=LlamaForCausalLM.from_pretrained(toy),
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=PPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", max_steps=1),
            train_dataset=toy_prompts(),
            processing_class=tokenizer,
            critic=Critic.from_policy(toy),
        )


def test_calibration_is_taken_from_the_arguments(toy, tmp_path):
    trainer = PPOTrainer(
        model=LlamaForCausalLM.from_pretrained(toy),
        reward_funcs=lambda completions, **_: [3.0] * len(completions),
        args=PPOConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", missing_eos_penalty=0.0, max_steps=1
        ),
        train_dataset=toy_prompts(),
        processing_class=toy_tokenizer(),
        critic=Critic.from_policy(toy),
        calibrations=[Calibration(mean=1.0, deviation=4.0)],
    )
    rollout(trainer)
    assert trainer._metrics["train"]["score"] == [0.5]


# -- what we lean on in TRL ---------------------------------------------------------------------------------

SEAMS = {
    "_calculate_rewards": "(self, inputs, prompts, completions, completion_ids_list)",
    "_compute_loss": "(self, model, inputs)",
    "_generate": "(self, prompts: list)",
    "_generate_and_score_completions": "(self, inputs: list[dict[str, torch.Tensor | typing.Any]])"
    " -> dict[str, torch.Tensor | typing.Any]",
    "_load_optimizer_and_scheduler": "(self, checkpoint)",
    "_save_checkpoint": "(self, model, trial)",
    "_tokenize_prompts": "(self, prompts: list)",
    "create_optimizer": "(self, model=None) -> torch.optim.optimizer.Optimizer",
    "training_step": "(self, model, inputs, num_items_in_batch)",
}
BATCH = {
    "prompt_ids",
    "prompt_mask",
    "completion_ids",
    "completion_mask",
    "advantages",
    "num_items_in_batch",
    "old_per_token_logps",
    "ref_per_token_logps",
}
RE_READ = "TRL has moved: read GRPOTrainer's {} again, then ppo_trainer.py, then correct this record."


@pytest.mark.parametrize("name", SEAMS)
def test_the_methods_we_override_have_the_signatures_we_know(name):
    assert str(inspect.signature(GRPOTrainer.__dict__.get(name) or getattr(GRPOTrainer, name))) == SEAMS[name], (
        RE_READ.format(name)
    )


def test_the_rollout_has_the_parts_we_know(toy, tmp_path, monkeypatch):
    trainer = toy_trainer(toy, tmp_path)
    seen = {}
    monkeypatch.setattr(trainer, "_add_learning_signal", seen.update)
    trainer.model.train()
    trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
    assert set(seen) == BATCH, RE_READ.format("_generate_and_score_completions")


def test_the_attributes_we_use_are_there(toy, tmp_path):
    trainer = toy_trainer(toy, tmp_path)
    assert (trainer._step, trainer.epsilon_low, trainer.epsilon_high, trainer.eos_token_ids) == (0, 0.2, 0.2, [EOS])
    assert trainer.reward_weights.tolist() == [1.0]
    assert set(trainer._metrics) == {"train", "eval"}
