"""The class that the LM Evaluation Harness calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch

from lstm_lm.errors import InputError, MissingExtra
from lstm_lm.integrations.harness.reading import Reader
from lstm_lm.integrations.harness.scoring import BATCH_SIZE, score
from lstm_lm.machine import choose_device
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.scoring import Perplexity
from lstm_lm.printing import print_note
from lstm_lm.training.run_evaluation import corpus_settings

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "lm_eval":
        raise
    raise MissingExtra("lm_eval", "lm-eval", "lstm_lm.integrations.lm_eval") from None

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

MOST_WORDS = 256  # of a continuation, if the task gives no number
# What a task may say about generation. Anything else has no effect here, and is named.
GENERATION_ARGUMENTS = frozenset(
    ("until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p")
)

Result = TypeVar("Result")


@register_model("lstm_lm")
class LstmLm(LM):
    """A model for the harness. The arguments are those of ``--model_args``.

    Args:
        pretrained: a run directory, or a model of the Hugging Face hub.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto``; None is ``cpu``. The harness's
            command gives ``cuda:0`` unless it is told another, so that is ``auto``.
        batch_size: texts that are scored together, without an effect on the results. The harness's
            default 1 and ``auto`` are 128.
        max_batch_size: the most that ``auto`` may be.
        **unknown: refused.

    Raises:
        RunDirectoryError: the directory is missing or damaged.
        HubError: the hub is out of reach, or has no such model.
        ConfigError: this machine has no such device.
        InputError: an argument is unknown or wrong.
    """

    def __init__(
        self,
        pretrained: str = "",
        device: str | None = None,
        batch_size: int | str = 1,
        max_batch_size: int | str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        if unknown or not pretrained:
            wrong = f"unknown: {', '.join(unknown)}" if unknown else "pretrained is missing"
            raise InputError(
                f"--model_args: {wrong}; write pretrained=RUN_DIR; device, batch_size and "
                "max_batch_size are allowed, too"
            )
        self._device = _read_device(device)
        self.model = LanguageModel.from_pretrained(str(pretrained), self._device)
        self.network = self.model.network.in_double_precision()
        self._settings = corpus_settings(pretrained)
        self.batch_size = _read_batch_size(batch_size, max_batch_size)
        self._unknown: dict[str, dict[str, int]] = {}

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Scores continuations.

        Args:
            requests: each with the arguments (context, continuation).
            disable_tqdm: no effect; there is no bar.

        Returns:
            For each, its log-probability in nats, and whether greedy decoding gives it.
        """
        reader = Reader(self.model.vocabulary, self._settings)
        questions = [reader.continuation(*request.args) for request in requests]
        self._report("loglikelihood", reader)
        found = score(self.network, questions, self.batch_size)
        unk_id = self.model.vocabulary.unk_id
        results = [
            (nats, is_greedy and unk_id not in question.words)
            for question, (nats, is_greedy) in zip(questions, found, strict=True)
        ]
        return self._cached("loglikelihood", requests, results)

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Scores whole texts, line ends included. The state is carried over line ends.

        Args:
            requests: each with the argument (text,).
            disable_tqdm: no effect; there is no bar.

        Returns:
            The log-probability of each text, in nats.
        """
        reader = Reader(self.model.vocabulary, self._settings)
        questions = [reader.whole(*request.args) for request in requests]
        results = [nats for nats, _ in score(self.network, questions, self.batch_size)]
        self._report("loglikelihood_rolling", reader)
        if reader.words:
            unknown = reader.figures()["unknown_words"]
            _print(f"perplexity {Perplexity(-sum(results), reader.words, unknown, 'carried')}")
        return self._cached("loglikelihood_rolling", requests, results)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Continues texts.

        Args:
            requests: each with the arguments (context, generation arguments). ``max_gen_toks`` is
                in words. Unless ``do_sample`` is true or ``temperature`` above 0, the most probable
                word is taken.
            disable_tqdm: no effect; there is no bar.

        Returns:
            What follows each context, up to the first of the texts ``until``, without that.

        Raises:
            InputError: a generation argument is outside its range.
        """
        reader = Reader(self.model.vocabulary, self._settings)
        for request in requests:
            reader.prompt(request.args[0])
        self._report("generate_until", reader)
        unused = {name for request in requests for name in request.args[1]} - GENERATION_ARGUMENTS
        if unused:
            _print(f"generate_until: no effect on this model: {', '.join(sorted(unused))}")
        results = [self._continue(*request.args) for request in requests]
        return self._cached("generate_until", requests, results)

    def _continue(self, context: str, arguments: dict[str, Any]) -> str:
        until = arguments.get("until") or []
        ends = [end for end in ([until] if isinstance(until, str) else until) if end]
        temperature = arguments.get("temperature")
        if not arguments.get("do_sample", bool(temperature)):
            temperature = 0.0
        drawn = self.model.iterate_words(
            context,
            int(arguments.get("max_gen_toks", MOST_WORDS)),
            temperature=1.0 if temperature is None else float(temperature),
            top_k=arguments.get("top_k"),
            top_p=arguments.get("top_p"),
        )
        line, words, text = context.rpartition("\n")[2], list[str](), ""
        for word in drawn:
            words.append(word)
            text = self.model.vocabulary.join(line, words)[len(line) :]
            if any(end in text for end in ends):
                break
        return text[: min([len(text), *(text.index(end) for end in ends if end in text)])]

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes into its results: the model, and how many words were unknown."""
        return {
            "model_num_parameters": self.network.parameter_count,
            "model_description": self.model.describe(),
            "unknown_words": self._unknown,
        }

    @property
    def tokenizer_name(self) -> str:
        """Identifies the vocabulary in the harness's cache of requests."""
        return f"lstm_lm-{len(self.model.vocabulary)}"

    def _report(self, kind: str, reader: Reader) -> None:
        """Prints and keeps how many words were unknown."""
        self._unknown[kind] = reader.figures()
        _print(f"{kind}: {reader.describe()}")

    def _cached(self, kind: str, requests: list[Instance], results: list[Result]) -> list[Result]:
        """Hands results to the harness's cache and returns them."""
        for request, result in zip(requests, results, strict=True):
            self.cache_hook.add_partial(kind, request.args, result)
        return results


def _read_device(device: str | None) -> torch.device:
    if device == "cuda:0":
        return choose_device("auto")
    kind, _, number = str(device or "cpu").partition(":")
    chosen = choose_device(kind, "--device")
    return torch.device(kind, int(number)) if number.isdecimal() else chosen


def _read_batch_size(batch_size: int | str, largest: int | str | None) -> int:
    text = str(batch_size)
    is_auto = text.partition(":")[0] == "auto"
    if not is_auto and not (text.isdecimal() and int(text)):
        raise InputError(f"--batch_size: found {text!r}, must be a number of at least 1, or auto")
    if is_auto:
        return min(BATCH_SIZE, int(largest or BATCH_SIZE))
    return BATCH_SIZE if text == "1" else int(text)


def _print(line: str) -> None:
    """Prints a line for people beside the harness's own messages, which go to standard error."""
    print_note(f"lstm_lm: {line}")
