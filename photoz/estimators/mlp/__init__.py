"""`mlp`: an ensemble of mixture-density networks on magnitudes, colours and errors."""
