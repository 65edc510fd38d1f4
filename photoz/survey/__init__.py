"""[in] Survey files as releases write them: FITS images and catalogues to arrays and tables."""
