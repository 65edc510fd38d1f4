"""A frame of co-registered images without a catalogue, turned into a tile of a survey."""
