"""Looks inside a prediction: every gate at every word, and the units that hold a word in memory.

- `units.py`: how long units hold what they hold, and which units remember a word,
- `description.py`: a trace as plain numbers, for JSON and for the page,
- `appearance.py`: titles, colours and scales of gates, the same in every picture,
- `heat_map.py`: a picture of every gate of one layer,
- `memory_figure.py`: a picture of one unit's memory over the words of a text,
- `page.py`, `page.html`: one HTML file with everything, to explore in a browser.

The numbers come from `lstm_lm.model.trace`. matplotlib is imported only when a picture is drawn.
"""
