"""A machine learning backend for Label Studio: predictions for its tasks, from annotated images.

The protocol is that of the package ``label-studio-ml`` and of the client in ``label-studio``. The package itself is
not used: its version on PyPI (1.0.9) pins Flask 1.1.2, Werkzeug 2.0.2 and ``attr`` 0.3.1, another package whose module
hides that of ``attrs``; it imports ``redis`` and ``rq`` without requiring them, answers errors with tracebacks, has no
check of who asks, and keeps its models in attributes of a class.
"""
