"""A model as the LM Evaluation Harness asks it; `lstm_lm.integrations.lm_eval` is the way in."""
