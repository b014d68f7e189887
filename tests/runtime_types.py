"""The checker of shapes and types that the import hook in conftest.py puts around every function."""

from beartype import BeartypeConf, beartype

# An int is accepted as a float, as by static checkers (PEP 484, "the numeric tower").
checker = beartype(conf=BeartypeConf(is_pep484_tower=True))
