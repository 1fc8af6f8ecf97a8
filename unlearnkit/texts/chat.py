"""The tokenizer that comes with a pretrained model, and how a question is put to that model: by its chat template, if it
has one, else by our prompt, or by one of the caller's.

What stands around the question is encoded once, control tokens included; question and answer are text alone.
"""

import json
from dataclasses import replace

from unlearnkit.core.errors import BadValue
from unlearnkit.texts.tokenizer import PROMPT, QUESTION, Tokenizer, reads_text_alone

# what a template is taken apart with
SAMPLES = (("Who is she?", "Her name is Mara."), ("Where was Tove born?", "In a town, by the sea."))


def of_pretrained(tokenizer, prompt: str | None = None) -> Tokenizer:
    """A Tokenizer around one of transformers', which stays as it is.

    prompt: what stands before an answer, with {question} in it; the answer follows after a space, or at once if the
    prompt ends in white space. None: the tokenizer's chat template, or ours where it has none. Raises BadValue for a
    tokenizer without an end token or a fast version, and for a template that does not hold question and answer.
    """
    if tokenizer.eos_token_id is None or not getattr(tokenizer, "backend_tokenizer", None):
        raise BadValue(
            "the tokenizer of this model has no end token, or no fast version (tokenizer.json): an answer needs an "
            "end; use another model, or save its tokenizer with both"
        )
    has_template = prompt is None and getattr(tokenizer, "chat_template", None)
    template = tokenizer.apply_chat_template if has_template else None
    asked, told = (_by_template(template) if template else _by_prompt(PROMPT if prompt is None else prompt))(
        *SAMPLES[0]
    )
    end, added = tokenizer.eos_token_id, set(tokenizer.added_tokens_decoder)
    if template:  # an answer may end in a token of its own
        after_answer = _encoded(tokenizer, told.rpartition(SAMPLES[0][1])[2])[0]
        end = next((i for i in after_answer if i in added), end)
    backend = _text_alone(tokenizer.backend_tokenizer, {*tokenizer.all_special_ids, end})
    head, before, after, tail = _taken_apart(tokenizer, asked, added)
    begin = tokenizer.bos_token_id
    if begin is not None and begin not in head and not template and begin in tokenizer("a")["input_ids"][:1]:
        head = (begin, *head)
    ours = Tokenizer(backend, end, head, before, after, tail, unknown=tokenizer.unk_token_id)
    if template:
        whole = _encoded(tokenizer, _by_template(template)(*SAMPLES[1])[0])[0]
        fitting = (replace(ours, opening=text) for text in ("", "\n"))
        ours = next((t for t in fitting if t.prompts([SAMPLES[1][0]]) == [whole]), None)
        if ours is None:
            raise BadValue("the chat template of this model depends on the question: say how to ask by `prompt`")
    return _with_answers(ours, tokenizer, asked, told)


def check_prompt(prompt: str) -> None:
    """Raises BadValue for a prompt that does not hold its question once."""
    if not isinstance(prompt, str) or prompt.count(QUESTION) != 1:
        raise BadValue(f"prompt must hold {QUESTION} once, got {prompt!r}")


def _by_prompt(prompt: str):
    """A function of question and answer: (the prompt, the prompt with its answer)."""
    check_prompt(prompt)
    space = "" if prompt[-1].isspace() else " "

    def render(question: str, answer: str) -> tuple[str, str]:
        asked = prompt.replace(QUESTION, question)
        return asked, f"{asked}{space}{answer}"

    return render


def _by_template(template):
    """The same by a chat template. Raises BadValue where it fails, or does not hold question and answer once."""

    def render(question: str, answer: str) -> tuple[str, str]:
        chat = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        try:
            asked = template(chat[:1], tokenize=False, add_generation_prompt=True)
            told = template(chat, tokenize=False)
        except Exception as error:  # a template is a program, and raises what it likes
            raise BadValue(
                f"the chat template of this model fails on one question and its answer: say how to ask by `prompt`. It "
                f"said: {' '.join(str(error).split())[:200]}"
            ) from error
        if asked.count(question) != 1 or told.count(answer) != 1:
            raise BadValue("the chat template of this model does not hold a question and its answer: use `prompt`")
        return asked, told

    return render


def _taken_apart(tokenizer, asked: str, added: set[int]) -> tuple[tuple[int, ...], str, str, tuple[int, ...]]:
    """Of a prompt with the first sample's question: ids up to the last control token before it, the texts before and
    after it, and ids from the next control token on."""
    ids, offsets = _encoded(tokenizer, asked)
    start = asked.index(SAMPLES[0][0])
    stop = start + len(SAMPLES[0][0])
    controls = [(i, *offsets[i]) for i in range(len(ids)) if ids[i] in added]
    last, begin = max(((i + 1, right) for i, _, right in controls if right <= start), default=(0, 0))
    first, end = min(((i, left) for i, left, _ in controls if left >= stop), default=(len(ids), len(asked)))
    return tuple(ids[:last]), asked[begin:start], asked[stop:end], tuple(ids[first:])


def _encoded(tokenizer, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and their places in the text, control tokens read as such."""
    encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    return encoding.ids, encoding.offsets


def _text_alone(backend, control: set[int]):
    """A copy that reads no control token in text, whether the name is known as such or spelled by its parts."""
    from tokenizers import Tokenizer as Backend

    content = json.loads(backend.to_str())
    content |= {"padding": None, "truncation": None}
    for token in content["added_tokens"]:
        token["special"] |= token["id"] in control
    names = {token["content"] for token in content["added_tokens"] if token["special"]}
    if merges := content["model"].get("merges"):
        pairs = [merge if isinstance(merge, list) else merge.split(" ") for merge in merges]
        content["model"]["merges"] = [pair for pair in pairs if "".join(pair) not in names]
    return reads_text_alone(Backend.from_str(json.dumps(content)))


def _with_answers(ours: Tokenizer, tokenizer, asked: str, told: str) -> Tokenizer:
    """With lead and anchor such that prompt and answer, one after the other, are what the tokenizer makes of both."""
    answer = SAMPLES[0][1]
    lead = told[len(asked) :].partition(answer)[0] if told.startswith(asked) else ""
    whole, prompt = _encoded(tokenizer, told[: told.rindex(answer) + len(answer)])[0], _encoded(tokenizer, asked)[0]
    for space, anchor in ((lead, ""), (lead.removesuffix(" "), ""), (lead, asked[-1:]), (lead, "\n"), ("", "\n")):
        candidate = replace(ours, lead=space, anchor=anchor)
        if prompt + candidate.answers([answer])[0][:-1] == whole:
            return candidate
    return replace(ours, lead=lead)
