"""The type checker that tests put on every annotated function of bitproof."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as everywhere in Python
