"""A model in the LM Evaluation Harness (``lm_eval``).

Importing this module registers the model ``lstm_lm``. A harness that looks for entry points of the
group ``lm_eval.models`` finds it by itself. Version 0.4.13 does not. There, this module is the
harness's command ``lm_eval`` that knows it::

    python -m lstm_lm.integrations.lm_eval run --model lstm_lm --model_args pretrained=RUN_DIR ...

How text is read:

- A context and its continuation are one text, which is split into words as any typed text. A line
  end is an ``<eos>``, as in ``lstm-lm predict``.
- If there is no context, the continuation is a whole text, and its last line end is scored too, as
  in ``lstm-lm score`` and ``lstm-lm probe``.
- A text of `LstmLm.loglikelihood_rolling` is read as ``lstm-lm evaluate --file`` reads a file.
- An unknown word has the probability of ``<unk>``, which is that of all unknown words together. So
  unknown words are counted and printed. Greedy decoding never gives one.

Log-probabilities are those of ``lstm-lm score``: in float64, where they do not depend on the texts
that are scored together.
"""

from __future__ import annotations

import sys
from importlib import import_module

from lstm_lm.errors import UserError
from lstm_lm.printing import print_note

__all__ = ["LstmLm"]


def main() -> int:
    """Runs the harness's command with this model registered; returns the exit status."""
    try:
        import_module("lstm_lm.integrations.harness.model")
        import_module("lm_eval.__main__").cli_evaluate()
    except UserError as error:
        print_note(f"lstm-lm: error: {error}")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
else:
    from lstm_lm.integrations.harness.model import LstmLm
