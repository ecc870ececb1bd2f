"""Makes the tiny model's tokenizer: byte-level BPE as in Qwen3, with a vocabulary of a few hundred.

    python -m tools.make_tiny_tokenizer --out assets/tiny_qwen3

Same normalizer, same split expression and same special tokens (in the same order, after the ordinary ones)
as Qwen3's tokenizer; only the merges are ours: learnt from the prompt pieces and from the text below. Every
word of the prompt pieces becomes one token; digits and operators are single tokens by the split expression.
"""

import argparse
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from hsd_jax.data import chat_template, tiny
from hsd_jax.rollout import feedback
from tools.tiny_documents import student_pieces, teacher_pieces

VOCABULARY = 512
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
# Qwen3 adds these to the vocabulary but keeps them in decoded text.
VISIBLE = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
)
CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
    {%- if enable_thinking is defined and enable_thinking is false -%}
        {{- '<think>\\n\\n</think>\\n\\n' -}}
    {%- endif -%}
{%- endif -%}
"""
EVERYDAY = """
The number of people in the house was more than that, so she had to buy other things for each of them.
How many apples are there in all? He has one, then gives some to his friend and they are left with the rest.
What is the total cost of all the items if the price is a dollar per hour and the time is a day or a week?
In this problem we first find how much money was made and then divide it by the number of days in the month.
It can be seen that for every one of these there must be at least two, which means that we have to add them.
Therefore the value is equal to the sum, and after that we subtract the part that was not used from the whole.
"""


def corpus() -> list[str]:
    """Prompt pieces many times, so that their words win merges, and a little everyday text once."""
    frame = chat_template.ChatTemplate("user\n", "\nassistant\nsystem\n")
    pieces = [
        text
        for problem in tiny.generate(20, split="train", seed=0)
        for text in (
            *teacher_pieces(
                *(frame, problem.question, chat_template.INSTRUCTIONS["math"]),
                answer="5",
                solution=problem.solution,
                feedback=feedback.WRONG.format("5"),
                peer=problem.solution,
            ),
            *student_pieces(frame, problem.question, chat_template.INSTRUCTIONS["code"]),
        )
    ]
    return pieces + [EVERYDAY] * 2


def build() -> Tokenizer:
    """The trained tokenizer: 256 bytes, merges, then Qwen3's 26 added tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(VISIBLE),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in VISIBLE])
    return tokenizer


def main() -> None:
    """Writes tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("assets/tiny_qwen3"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build()
    tokenizer.save(str(out / "tokenizer.json"))
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1024,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (out / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    print(f"{out}: {tokenizer.get_vocab_size()} ids")


if __name__ == "__main__":
    main()
