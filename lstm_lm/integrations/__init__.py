"""Other programs and a model trained here: what each needs, one module each.

Every module is imported only when it is asked for. Most need an extra of their own, such as
``pip install "lstm_lm[onnx]"``.
"""
