"""Training of the bundled model on the toy world; ``python -m tools.toy_model FOLDER`` runs it."""
