"""The model card: facts of a run with their places, as Markdown and as a page.

``document`` is what a card is made of, ``facts`` where its numbers come from, ``results``, ``robustness`` and
``content`` its chapters, ``markdown`` and ``page`` what it is written as, ``writing`` the whole.
"""
