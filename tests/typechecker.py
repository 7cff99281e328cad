"""Checks annotations, shapes included, at every call while tests run; an int is a float, as in typing."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
