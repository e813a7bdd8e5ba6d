"""The language model: words in, words out. This is what people load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor

from lstm_lm.config import ModelConfig
from lstm_lm.corpus.file_reading import NATURAL, choose_reading
from lstm_lm.corpus.half_typed import cut_half_typed, find_half_typed
from lstm_lm.corpus.layout import lay_out_text
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError
from lstm_lm.model import generation, hub, pretrained, reading, scoring
from lstm_lm.model.fixing import Fixes, describe_fixes, fix_gates
from lstm_lm.model.generation import Continuation, Sampling, Task
from lstm_lm.model.network import Network
from lstm_lm.model.prediction import Choice, Offer, Prediction
from lstm_lm.model.reading import Reading
from lstm_lm.model.scoring import Perplexity, WordScore
from lstm_lm.model.session import Session
from lstm_lm.model.trace import Trace, trace_text


class LanguageModel:
    """A word-level next-word language model: a `Network` and its vocabulary.

    A string is one text: the state is carried over its line ends. A list of strings is one text
    each, and each starts from a zero state. Every answer is that of evaluation mode, without
    dropout, whatever the mode of the network, which stays as it is.

    Args:
        network: ids in, log-probabilities out.
        vocabulary: the words of its ids.
        fixed: the gates that always have the same value, such as ``forget_gate=1``; for people.
    """

    def __init__(self, network: Network, vocabulary: Vocabulary, fixed: str = "") -> None:
        self.network, self.vocabulary, self.fixed = network, vocabulary, fixed

    @classmethod
    def from_config(cls, config: ModelConfig, vocabulary: Vocabulary) -> LanguageModel:
        """Builds an untrained model; weights are drawn from torch's global generator."""
        return cls(Network(config, len(vocabulary)), vocabulary)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        device: str | torch.device | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> LanguageModel:
        """Loads a run directory, or a repository of the Hugging Face hub, in evaluation mode.

        Args:
            name_or_path: a directory, or a hub name such as ``user/model``.
            device: where the weights go; the CPU if None.
            revision: hub: branch, tag or commit; the default branch if None.
            token: hub: access token of a private repository; if None, ``HF_TOKEN`` of the
                environment, or the saved login.

        Raises:
            RunDirectoryError: the directory is missing, incomplete, damaged or of another format,
                or a revision of it is asked for.
            HubError: the hub is out of reach, or has no such repository or revision, or it is no
                model of lstm_lm.
        """
        folder = hub.find_folder(name_or_path, revision=revision, token=token)
        with hub.errors_of_hub_model(name_or_path, folder):
            network, vocabulary = pretrained.load(folder)
        return cls(network.to(device or "cpu").eval(), vocabulary)

    @property
    def config(self) -> ModelConfig:
        """The network's configuration."""
        return self.network.config

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.network.device

    def to(self, device: str | torch.device) -> LanguageModel:
        """Moves the network to a device; returns this model."""
        self.network.to(device)
        return self

    def in_double_precision(self) -> LanguageModel:
        """This model with its network in float64; see `Network.in_double_precision`."""
        return LanguageModel(self.network.in_double_precision(), self.vocabulary, self.fixed)

    def with_fixed_gates(
        self, fixes: Fixes, mean_over: str | Sequence[int] | None = None
    ) -> LanguageModel:
        """A copy of this model in which gates always have the same value; this one stays as it is.

        ``model.with_fixed_gates({"forget_gate": 1.0})`` never forgets.

        Args:
            fixes: gate name, such as ``forget_gate`` (all layers) or ``0.forget_gate`` (the lowest
                layer), -> a number, or ``"mean"`` for the mean of each unit's own values.
            mean_over: the text, or the ids, over which the mean is taken; at most 10,000 words.

        Raises:
            InputError: the cell has no such gate, the gate cannot have this value, or a mean is
                asked for without a text.
        """
        if isinstance(mean_over, str):
            mean_over = self.vocabulary.ids_of(reading.prompt_words(self.vocabulary, mean_over))
        fixed = ", ".join(filter(None, [self.fixed, describe_fixes(fixes)]))
        return LanguageModel(fix_gates(self.network, fixes, mean_over), self.vocabulary, fixed)

    @overload
    def predict_next(
        self,
        text: str,
        top_k: int = ...,
        *,
        complete: bool = ...,
        include_unknown: bool = ...,
        among: Sequence[str] | None = ...,
        ban: Sequence[str] = ...,
    ) -> list[Prediction]: ...

    @overload
    def predict_next(
        self,
        text: list[str],
        top_k: int = ...,
        *,
        complete: bool = ...,
        include_unknown: bool = ...,
        among: Sequence[str] | None = ...,
        ban: Sequence[str] = ...,
    ) -> list[list[Prediction]]: ...

    def predict_next(
        self,
        text: str | list[str],
        top_k: int = 5,
        *,
        complete: bool = False,
        include_unknown: bool = False,
        among: Sequence[str] | None = None,
        ban: Sequence[str] = (),
    ) -> list[Prediction] | list[list[Prediction]]:
        """The most probable next words.

        Args:
            text: natural text, such as ``"I grew up in France. I speak fluent"``, or a list of
                texts. Unknown words are read as ``<unk>``.
            top_k: how many words, at least 1.
            complete: whether the word at the end of the text is half typed: then only words that
                begin so are predicted, and their probabilities sum to 1.
            include_unknown: whether ``<unk>`` may be among them.
            among: the only words to predict, whose probabilities then sum to 1. Each is one word
                of the vocabulary.
            ban: words never to predict, in upper or lower case.

        Returns:
            `Prediction`s, the most probable first; a list of them for each text of a list. Without
            ``complete`` and ``among``, the probabilities are the model's own: leaving words out
            does not raise the others. The list is empty if no word is left.

        Raises:
            InputError: a word of ``among`` is unknown, a word of ``among`` or ``ban`` is several
                words, or ``include_unknown`` has no effect.
        """
        if isinstance(text, str):
            return self.offer(
                text,
                top_k,
                complete=complete,
                include_unknown=include_unknown,
                among=among,
                ban=ban,
            ).predictions
        return [
            self.predict_next(
                one,
                top_k,
                complete=complete,
                include_unknown=include_unknown,
                among=among,
                ban=ban,
            )
            for one in text
        ]

    @torch.inference_mode()  # a word takes a sixth less time than under no_grad
    def offer(
        self,
        text: str,
        top_k: int = 5,
        *,
        complete: bool = False,
        include_unknown: bool = False,
        among: Sequence[str] | None = None,
        ban: Sequence[str] = (),
        read: Callable[[list[int]], Tensor] | None = None,
    ) -> Offer:
        """What `predict_next` returns for one text, and over which words it is normalised.

        ``read``, if given, is asked in place of this model: a function of the ids of a text, whose
        first is ``<eos>``, that returns the log-probabilities ``(V,)`` of the next word.
        """
        if read is None:
            network = self.network.in_evaluation_mode()
            read = partial(reading.next_word_log_probabilities, network)
        choice = Choice.of_words(self.vocabulary, among, ban, include_unknown)
        if not complete:
            words = reading.prompt_words(self.vocabulary, text)
            found = read(self.vocabulary.ids_of(words))
            return choice.offer(self.vocabulary, found, top_k)
        if include_unknown:
            raise InputError("include_unknown and complete: give one of them")
        before, chunk = cut_half_typed(text)
        half = find_half_typed(self.vocabulary, chunk)
        words = reading.prompt_words(self.vocabulary, before, more_follows=bool(chunk))
        ids = self.vocabulary.ids_of([*words, *half.words])
        return choice.complete(self.vocabulary, half, read(ids), top_k)

    def session(self) -> Session:
        """A text that grows: what is typed is read once, and words can be taken back."""
        return Session(self.network.in_evaluation_mode(), self.vocabulary)

    def most_probable(
        self, log_probabilities: Tensor, top_k: int = 5, *, include_unknown: bool = False
    ) -> list[Prediction]:
        """The ``top_k`` most probable words of ``log_probabilities (V,)``; see `predict_next`."""
        choice = Choice(include_unknown=include_unknown)
        return choice.offer(self.vocabulary, log_probabilities, top_k).predictions

    @overload
    def score(self, text: str, *, reset_per_line: bool = ...) -> list[WordScore]: ...

    @overload
    def score(self, text: list[str], *, reset_per_line: bool = ...) -> list[list[WordScore]]: ...

    def score(
        self, text: str | list[str], *, reset_per_line: bool = False
    ) -> list[WordScore] | list[list[WordScore]]:
        """The surprisal of every word in bits, the ``<eos>`` of every line included.

        Args:
            text: one text, or a list of texts.
            reset_per_line: start every line of a text from a zero state.

        Returns:
            A `WordScore` for each word; a list of them for each text of a list.
        """
        if not isinstance(text, str):
            model = self.in_double_precision()
            return [model.score(one, reset_per_line=reset_per_line) for one in text]
        lines = scoring.lines_of(text)
        scored = scoring.iterate_line_scores(
            self.network, self.vocabulary, lines, carry=not reset_per_line
        )
        return [score for line in scored for score in line]

    def perplexity(self, text: str, *, reset_per_line: bool = False) -> Perplexity:
        """The perplexity of a text, line ends included; ``float(...)`` of it is the number.

        A natural text is read as `lstm-lm evaluate --file` reads it: blank lines are skipped, and
        the lines of a wrapped text are joined to paragraphs.
        """
        lines = scoring.lines_of(text)
        if choose_reading(lines, self.vocabulary) == NATURAL:
            text = "\n".join(lay_out_text(lines))
        scores = self.score(text, reset_per_line=reset_per_line)
        return scoring.sum_scores(scores, carry=not reset_per_line)

    @overload
    def generate(self, prompt: str = ..., words: int = ..., **options: Any) -> str: ...

    @overload
    def generate(self, prompt: list[str], words: int = ..., **options: Any) -> list[str]: ...

    def generate(
        self, prompt: str | list[str] = "", words: int = 50, **options: Any
    ) -> str | list[str]:
        """Continues a prompt and returns the continuation as natural text.

        Args:
            prompt: natural text, or a list of texts; if empty, a new line begins.
            words: the most words to add, at least 0; ``<eos>``, a line end, counts as a word.
            options: ``temperature``, ``top_k``, ``top_p``, ``min_p``, ``repetition_penalty`` and
                ``seed``, see `lstm_lm.model.generation.Sampling`; or ``beam``, to search for the
                most probable text, keeping this many. ``until_eos=True`` ends at the first line
                end. ``ban`` is a list of words that are never added.

        Returns:
            The continuation; a list of them for a list of prompts, each drawn with the same seed.

        Raises:
            InputError: an argument is outside its range.
        """
        if not isinstance(prompt, str):
            return [self.generate(one, words, **options) for one in prompt]
        return next(self.iterate_continuations(prompt, words, **options)).text

    def iterate_words(
        self,
        prompt: str = "",
        words: int = 50,
        *,
        until_eos: bool = False,
        ban: Sequence[str] = (),
        **sampling: Any,
    ) -> Iterator[str]:
        """Yields the words of a continuation as they are drawn; see `generate`."""
        network = self.network.in_evaluation_mode()
        task = Task(network, self.vocabulary, prompt, words, until_eos, ban)
        return (drawn.word for drawn in generation.iterate_words(task, Sampling(**sampling)))

    def iterate_continuations(
        self,
        prompt: str = "",
        words: int = 50,
        *,
        samples: int = 1,
        beam: int | None = None,
        until_eos: bool = False,
        ban: Sequence[str] = (),
        **sampling: Any,
    ) -> Iterator[Continuation]:
        """Yields several continuations of a prompt, with the probability of every word.

        Arguments are those of `generate`, and those of
        `lstm_lm.model.generation.iterate_continuations`.
        """
        network = self.network.in_evaluation_mode()
        task = Task(network, self.vocabulary, prompt, words, until_eos, ban)
        return generation.iterate_continuations(task, samples=samples, beam=beam, **sampling)

    def read(self, text: str) -> Reading:
        """Reads a text: its words, its ids, and every layer's state after every word."""
        return reading.read_text(self.network.in_evaluation_mode(), self.vocabulary, text)

    def trace(self, text: str, target: str | None = None, *, last: int | None = None) -> Trace:
        """Every gate at every word, and gradients; arguments are those of `trace_text`."""
        network = self.network.in_evaluation_mode()
        return trace_text(network, self.vocabulary, text, target, last=last)

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the vocabulary does not have, each once, in their order."""
        return reading.unknown_words(self.vocabulary, text)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Writes ``config.json``, ``tokenizer.json``, ``model.safetensors``, and a model card.

        A model that was saved there before is replaced. A model card that is there already is kept.

        Args:
            folder: it is made if missing; it may not be a run directory.
            overwrite: also replace files of these names that others made.

        Raises:
            RunDirectoryError: the folder has a run, or files that others made.
            DiskError: a file could not be written; the files that were there are unchanged.
        """
        pretrained.save(self.network, self.vocabulary, Path(folder), overwrite=overwrite)

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool = False,
        revision: str | None = None,
        token: str | None = None,
        overwrite: bool = False,
    ) -> str:
        """Uploads the model to the hub repository ``user/model`` and returns its address.

        Its model card is short; ``lstm-lm push`` uploads a run's own card, with its results.
        Arguments and errors are those of `lstm_lm.model.hub.upload`.
        """
        pushed = pretrained.push_to_hub(
            self.network,
            self.vocabulary,
            name,
            private=private,
            revision=revision,
            token=token,
            overwrite=overwrite,
        )
        return pushed.address

    def describe(self) -> str:
        """One line for people: cell, sizes, number of words and of parameters; fixed gates."""
        fixed = f", with {self.fixed}" if self.fixed else ""
        return pretrained.describe(self.network) + fixed
