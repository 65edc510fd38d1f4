"""What the flags mean, in words for readers of a page."""

from photoz.schema import Flag

# The strings below the members of `photoz.schema.Flag` are not there at run time, so pages have their own words.
MEANINGS = {
    Flag.BAND_NOT_DETECTED: "a band was observed and nothing measured in it",
    Flag.BAND_NOT_OBSERVED: "a band was not observed",
    Flag.NO_PHOTOMETRY: "no band has a magnitude",
    Flag.NO_TILE: "the tile is not in the tile store",
    Flag.TILE_UNREADABLE: "reading the tile failed",
    Flag.OFF_IMAGE: "the cutout lies outside the tile",
    Flag.PARTIAL_CUTOUT: "the cutout lies partly outside the tile or has pixels without a value",
    Flag.EMPTY_CUTOUT: "a band of the cutout has no pixel with a value",
    Flag.MASKED_PIXELS: "the survey's mask is set within the cutout",
    Flag.ESTIMATE_FAILED: "no redshift: the estimator gave none",
    Flag.PHOTOMETRY_ONLY: "estimated without the image",
    Flag.OUTSIDE_TRAINING: "farther from the training sample than all but few of the training galaxies",
}
