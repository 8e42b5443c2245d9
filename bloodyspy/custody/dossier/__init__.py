"""``bloodyspy dossier``: all that is known of a version as one folder, to be handed to whoever asks.

===================  =============================================================================
``index.html``       all of it on one page, to be read or printed
``dossier.json``     the same for programs: :class:`Dossier`
``card.html``        the model card, as it lies in the artefact
``card.md``          the same as Markdown
``decision.json``    what the gate decided, criterion by criterion; only where it decided
``trail.jsonl``      the entries of the audit log about the version, each line as it is kept there
``sbom.cdx.json``    what it is served with, in CycloneDX; only where the lock is known
``way.svg``          what the version rests on, drawn
``digests.json``     SHA-256 of each of the files above that is there
===================  =============================================================================
"""
