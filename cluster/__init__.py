"""How the work of ``photoz`` is spread over processes and machines. Holds no science."""
