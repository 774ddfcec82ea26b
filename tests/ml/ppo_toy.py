"""A language of 32 words and a policy of 23,000 parameters: small enough to learn PPO's lessons in seconds."""

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.ml.rewards.verifiable import token_share
from pipeline.ml.trainers.critic import Critic
from pipeline.ml.trainers.ppo_trainer import PPOConfig, PPOTrainer

WORDS, PLACES, WANTED = 32, 8, 7
PAD, BOS, EOS, UNKNOWN = range(4)
SPECIAL = ["<pad>", "<bos>", "<eos>", "<unknown>"]


def toy_tokenizer():
    """w4 … w31, and four special tokens."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *(f"w{i}" for i in range(4, WORDS))])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[UNKNOWN]))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = dict(zip(["pad_token", "bos_token", "eos_token", "unk_token"], SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=words, **names)


def save_toy(folder, seed=0, **settings):
    """A model folder: 2-layer Llama with random weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        **settings,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)
    return folder


def toy_prompts():
    """64 prompts of one to three words, so that batches are padded."""
    return Dataset.from_dict(
        {"prompt": [" ".join(f"w{4 + (i * 5 + j) % 28}" for j in range(1 + i % 3)) for i in range(64)]}
    )


def toy_trainer(
    folder, output, *, prompts=None, critic=None, reward=None, callbacks=None, peft_config=None, **settings
):
    """A PPOTrainer on the toy: 64 answers of at most 8 words a rollout, 4 minibatches, 4 epochs."""
    defaults = {
        "per_device_train_batch_size": 16,
        "steps_per_generation": 4,
        "num_iterations": 4,
        "gradient_accumulation_steps": 1,
        "max_steps": 16,
        "learning_rate": 1e-2,
        "critic_learning_rate": 1e-3,
        "missing_eos_penalty": 0.0,
        "max_completion_length": PLACES,
        "save_strategy": "no",
        "logging_steps": 16,
    }
    args = PPOConfig(
        output_dir=str(output),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        **{**defaults, **settings},
    )
    return PPOTrainer(
        model=LlamaForCausalLM.from_pretrained(folder),
        reward_funcs=reward or token_share(WANTED, PLACES),
        args=args,
        train_dataset=prompts or toy_prompts(),
        processing_class=toy_tokenizer(),
        critic=critic or Critic.from_policy(folder),
        callbacks=callbacks,
        peft_config=peft_config,
    )


def rollout(trainer):
    """One rollout, as the trainer's first update gets it: the first minibatch."""
    trainer.model.train()
    rows = next(iter(trainer.get_train_dataloader()))
    return trainer._prepare_inputs(rows)
