"""How the first rank of a training on several processes starts the others, and what they do.

The first rank reads arguments, configuration and run directory, and prepares the corpus. Only then
it tells the others what is trained. They encode the corpus again only where they cannot find what
it has encoded, as on another machine, and read and write nothing in the run directory.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from lstm_lm.cells import lacks_compiler
from lstm_lm.config import Config, config_from_dict, config_to_dict
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import CorpusError
from lstm_lm.machine import choose_device, flush_tiny_numbers, out_of_memory_named
from lstm_lm.training.building import build_model, new_run_id
from lstm_lm.training.checkpoint import collect_tensors, restore_tensors
from lstm_lm.training.distributed import Ranks, joined
from lstm_lm.training.trainer import Trainer
from lstm_lm.training.validation import valid_texts

_FACTS = ("saves_first", "validates_first", "saved_step")  # attributes of the first trainer


def lead(
    ranks: Ranks, config: Config, base: Vocabulary | None, origin_id: str | None, trainer: Trainer
) -> None:
    """Starts the other ranks, and waits until they are as far as this one, the first.

    Args:
        ranks: of the training; nothing is done if this one is alone.
        config: all settings.
        base: the words that the corpus was given.
        origin_id: the id of the run that this one starts from, or None.
        trainer: of this rank, ready to run.
    """
    if ranks.alone:
        return
    lacks_compiler(trainer.network.recurrent.cells[0])  # compiles the loop, unless that was done
    with ranks.first_on_machine():
        ranks.tell("start")
    ranks.connect()
    vocabulary = trainer.model.vocabulary
    train, valid = trainer.streams.tokens, trainer.valid
    ranks.send_values(
        {
            "config": config_to_dict(config),
            "base": base.to_json() if base else None,
            "version": vocabulary.version,
            "origin_id": origin_id,
            "run_id": new_run_id(config, vocabulary, train, valid, origin_id),
            "folder": str(trainer.folder),
        }
    )
    ranks.wait_for("built", ranks.size - 1)
    share_start(trainer)


def follow() -> tuple[Trainer, bool]:
    """Trains together with the first rank, as one of the others.

    Returns:
        The trainer, and whether the run is finished.

    Raises:
        RankError: another rank ended.
        CorpusError: this machine has another corpus than that of the first rank.
        DivergedError: as on the first rank.
    """
    with joined() as ranks, out_of_memory_named(), flush_tiny_numbers():
        ranks.wait_for("start")
        ranks.connect()
        trainer = _build(ranks)
        ranks.tell("built")
        share_start(trainer)
        return trainer, trainer.run()


def _build(ranks: Ranks) -> Trainer:
    """Builds what the first rank has told."""
    told = ranks.send_values()
    config = config_from_dict(told["config"], refuse_unused=False)
    base = Vocabulary.from_json(told["base"]) if told["base"] else None
    with ranks.first_on_machine():
        corpus = Corpus(config.corpus, config.stories, base=base, version=told["version"])
        vocabulary, train = (
            corpus.vocabulary,
            corpus.training_tokens(config.training.batch_size),
        )
        valid = valid_texts(corpus, config.evaluation)
        run_id = new_run_id(config, vocabulary, train, valid, told["origin_id"])
        if run_id != told["run_id"]:
            raise CorpusError(
                f"rank {ranks.rank}: the corpus is not the one that the first rank reads; copy the "
                "same files to every machine"
            )
        model = build_model(config, vocabulary, train)
        lacks_compiler(model.network.recurrent.cells[0])
    model.to(ranks.use_device(choose_device(config.training.device)))
    return Trainer(
        model,
        train,
        valid,
        config.optimizer,
        config.training,
        replace(config.evaluation, prompts=()),  # which the first rank continues
        Path(told["folder"]),
        ranks=ranks,
        report=_ignore,
    )


def share_start(trainer: Trainer) -> None:
    """Gives all ranks what the first one begins with, as a checkpoint would.

    Args:
        trainer: of this rank. The first one's has the carried state of all streams; afterwards each
            has that of its own.
    """
    ranks, part = trainer.ranks, trainer.part
    if part is None:
        return
    facts = {name: getattr(trainer, name) for name in _FACTS}
    counters, facts = ranks.send_values([asdict(trainer.progress), facts])
    if not ranks.is_first:
        vars(trainer.progress).update(counters)  # in place: the average holds it, too
        vars(trainer).update(facts)
    parts = trainer.network, trainer.optimizers, trainer.state
    own = collect_tensors(*parts, trainer.average.network) if ranks.is_first else {}
    state, averaged = restore_tensors(ranks.send_tensors(own), *parts)
    if not ranks.is_first:
        trainer.average.load(averaged)
    trainer.state = [
        type(layer)(*(part.own(field, 0).clone() for field in layer)) for layer in state
    ]
    trainer.spans = trainer.remaining_spans()


def _ignore(line: str) -> None:
    """Ignores a line for people, which the first rank prints."""
