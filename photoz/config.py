"""The settings of a survey run, `Config`.

Every setting has its default here, with its unit and its reason; a TOML file need hold only what differs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from photoz.errors import ConfigError
from photoz.settings import JobSettings, Settings, convert_settings, load_settings
from photoz.simulation_settings import Simulation

_HIGHEST_ORDER = 11


class Locations(Settings, frozen=True):
    """Where everything lies: local paths or any URL that fsspec opens (``s3://bucket/prefix``)."""

    survey: str
    """Folder of the survey's files as the release names them."""
    tiles: str
    """Folder of the tile store, one Zarr group a tile."""
    sources: str
    """The source catalogue (HATS)."""
    training: str
    """Folder of the training set and what training logs."""
    models: str
    """Folder of trained estimators, one folder each."""
    catalogue: str
    """The photo-z catalogue (HATS)."""
    report: str
    """Folder of the accuracy report."""


class Cut(Settings, frozen=True):
    """One condition a source must meet on a column of the survey's catalogue."""

    column: str
    equals: float | None = None
    below: float | None = None
    """Strictly less than this."""
    at_least: float | None = None
    bits_clear: int | None = None
    """None of these bits may be set."""


class Columns(Settings, frozen=True):
    """Column names in the survey's multi-band catalogue; ``{band}`` stands for the band."""

    object_id: str = "ID"
    ra: str = "RAJ2000"
    dec: str = "DECJ2000"
    tile: str = "KIDS_TILE"
    mag_auto: str = "MAG_AUTO"
    magerr_auto: str = "MAGERR_AUTO"
    mag: str = "MAG_GAAP_{band}"
    magerr: str = "MAGERR_GAAP_{band}"
    extinction: str = "EXTINCTION_{band}"


class Survey(Settings, frozen=True):
    """What a survey is: its bands, file names, columns and pixel scale. The defaults are KiDS DR4."""

    name: str = "KiDS DR4.0"
    bands: tuple[str, ...] = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
    image_bands: tuple[str, ...] = ("u", "g", "r", "i")
    pixel_scale: float = 0.2
    """[arcsec / pixel]"""
    tile: str = "KIDS_{ra}_{dec}"
    """Name of a tile; ``{ra}`` and ``{dec}`` stand for its centre in degrees as the file names write it."""
    image_file: str = "KiDS_DR4.0_{ra}_{dec}_{band}_sci.fits"
    weight_file: str = "KiDS_DR4.0_{ra}_{dec}_{band}_wei.fits"
    mask_file: str = "KiDS_DR4.0_{ra}_{dec}_{band}_msk.fits"
    catalogue_file: str = "KiDS_DR4.[01]_{ra}_{dec}_ugriZYJHKs_cat.fits"
    """May be a glob: DR4.1 re-released 196 of the 1006 catalogues. The highest match is read."""
    columns: Columns = Columns()
    not_detected: float = 99.0
    not_observed: float = -99.0
    magnitudes_dereddened: bool = True
    """KiDS DR4's GAaP magnitudes are already corrected for extinction; False subtracts ``columns.extinction``."""
    mag_auto_band: str = "r"
    """Band of ``columns.mag_auto``: whose extinction and zero-point offset the two settings below apply."""
    mag_auto_dereddened: bool = False
    """KiDS DR4's MAG_AUTO is as measured; False subtracts the extinction. The KiDS-Bright file's MAG_AUTO_CALIB, which
    the limit r_auto < 20 is put on, is MAG_AUTO + DMAG_R - EXTINCTION_r (as public analyses of DR4 compute it)."""
    mag_auto_offset_sign: Literal[-1, 0, 1] = 1
    """mag_auto + sign * zero-point offset of its band, where the catalogue's header has one."""
    zeropoint: float = 0.0
    """[mag(AB)] of the images; KiDS coadds are calibrated to 0."""
    zeropoint_offset: str = "DMAG_{BAND}"
    """Key of the catalogue's primary header with the band's homogenisation offset; ``{BAND}`` is upper case."""
    zeropoint_offset_sign: Literal[-1, 0, 1] = 0
    """Apply the offset to image fluxes as m + sign * offset; 0 records it without applying it."""


class Selection(Settings, frozen=True):
    """Which sources of the multi-band catalogue enter the source catalogue: the KiDS-Bright cuts by default."""

    mag_auto_below: float = 20.0
    """[mag(AB)] limit in r_auto (Bilicki et al. 2021, section 2)."""
    cuts: tuple[Cut, ...] = (
        Cut(column="SG_FLAG", equals=1),
        Cut(column="SG2DPHOT", equals=0),
        Cut(column="CLASS_STAR", below=0.5),
        Cut(column="MASK", bits_clear=28668),
    )
    bright_sample: str = ""
    """File within ``locations.survey`` whose IDs are kept instead of applying ``cuts`` (the KiDS-Bright file)."""


class Download(Settings, frozen=True):
    """What jobs/download_dr4.py fetches. A whole DR4 tile of four bands has 7.5 GB of images and masks."""

    base_url: str = "http://ds.astro.rug.astro-wise.org:8000"
    """Folder of the files. The Astro-WISE server that KiDS's own lists name for DR1 and DR5; unchecked for DR4, whose
    lists are linked from https://kids.strw.leidenuniv.nl/DR4."""
    tiles: tuple[str, ...] = ()
    """Names of tiles, like ``KIDS_180.0_-0.5``."""
    tile_list: str = ""
    """File with a tile a line; the release's wget scripts will do."""
    kinds: tuple[Literal["sci", "wei", "msk", "cat"], ...] = ("sci", "msk", "cat")
    other_urls: tuple[str, ...] = ("https://kids.strw.leidenuniv.nl/DR4/data_files/KiDS_DR4_brightsample.fits",)
    """Further files to fetch."""


class Frame(Settings, frozen=True):
    """A frame of co-registered images without a catalogue, which jobs/ingest_frame.py turns into a survey's tile."""

    folder: str = ""
    """Where the images lie, one file a band of ``survey.bands``."""
    image_file: str = "{band}.fits"
    zeropoints: dict[str, float] = msgspec.field(default_factory=dict)
    """[mag] of the bands whose zero point is not ``survey.zeropoint``."""
    ab_offsets: dict[str, float] = msgspec.field(default_factory=dict)
    """[mag] AB minus Vega, added to the zero points of bands calibrated to Vega; empty: all are AB."""
    pixel_scale: float = 0.0
    """[arcsec / pixel] of the images, which need no WCS; must be set. They are resampled to ``survey.pixel_scale``."""
    centre: tuple[float, float] = (180.0, 0.0)
    """[deg] nominal position of the frame's centre; it names the tile, so one decimal."""
    detection_band: str = "r"
    threshold: float = 2.0
    """Signal to noise a pixel, after matched filtering with sep's default 3 x 3 kernel. On the real frame the negative
    of the r image gives 2 % as many detections with r < 23 as the image does; at 1.5, 5 % (docs/real-pixels.md)."""
    min_pixels: int = 5
    background_pixels: int = 128
    """Side of the squares the background is estimated in; larger than the largest galaxy's bright part."""
    aperture: float = 3.4
    """[arcsec] diameter of the circle that all bands are measured in, after blurring to the worst seeing; some 2.5
    times that seeing."""
    saturated_mag: float = 15.3
    """[mag] in the detection band: stars brighter than this are saturated (their half-light radius grows)."""
    saturated_radius: float = 10.0
    """[arcsec] around a saturated star that is masked."""


class Tiles(Settings, frozen=True):
    """Layout of the tile store. Figures behind the defaults: docs/benchmarks."""

    chunk: int = 64
    """[pixel] side of an inner chunk; all bands lie in one chunk."""
    shard: int = 1024
    """[pixel] side of a shard (one stored object); a multiple of ``chunk``."""
    codec: Literal["zstd", "none"] = "none"
    """Of the images. The noise of the sky does not compress: zstd saves 8 % of the store and takes half as much
    processor time again to read. Masks are always compressed."""
    quantize: float = 0.0
    """Round pixels to a step, a power of two, of at most this fraction of the noise of the sky, which zstd then
    compresses; 0 keeps them as they are. What it does to redshifts has not been measured: lossless is the default."""
    checksum: bool = True
    """Append a CRC32C to every inner chunk, so that a flipped byte is an error and not a wrong redshift."""
    store_weights: bool = False
    """Store the weight images too (as much again as the images); no estimator reads them yet."""


class Ingest(Settings, frozen=True):
    """When ingest has done enough. A section of its own: a change of ``tiles`` or ``sources`` has all done again."""

    min_completeness: float = 0.0
    """Exit with an error when of a smaller fraction of the tiles both catalogue and images were ingested."""


class Sources(Settings, frozen=True):
    """Partitioning of the source catalogue, which is that of the photo-z catalogue too."""

    rows_per_partition: int = 5_000
    """At most this many rows a HEALPix pixel, within ``highest_order``."""
    highest_order: int = 8
    """Of the pixels; 64 KiDS-Bright galaxies lie in one of order 8. Partitioning takes memory and seconds of the whole
    sky at this order: 3 s at 8, 40 s at 10."""
    margin_arcsec: float = 10.0
    """[arcsec] width of the margin catalogue around each pixel; 0 writes none."""


class Crossmatch(Settings, frozen=True):
    """Spectroscopic table and how it is matched. The defaults are GAMA DR4's gkvScienceCatv02."""

    file: str = "gkvScienceCatv02.fits"
    """Within ``locations.survey``."""
    ra: str = "RAcen"
    dec: str = "Deccen"
    redshift: str = "Z"
    quality: str = "NQ"
    duplicate: str = "duplicate"
    """Column that is 0 for rows that are no duplicate; "" when the table has none."""
    min_quality: int = 3
    radius_arcsec: float = 1.0
    """[arcsec]"""
    min_redshift: float = 0.001
    """Below this a "galaxy" is a star or a wrong redshift."""
    fractions: tuple[float, float, float, float] = (0.70, 0.075, 0.075, 0.15)
    """Of train, valid (which ends a training), calib (which p(z) is recalibrated on, and nothing else is) and test; a
    galaxy's split depends on its object_id and ``run.seed`` alone. The paper's are 0.70, 0.15 and 0.15."""


class Training(Settings, frozen=True):
    """How an estimator is trained. Where the paper (arXiv 2312.08043) says something, the defaults are its."""

    estimator: str = "hybrid"
    """Which to train, and the name of its folder within ``locations.models``: hybrid or photometry (networks that Ray
    Train spreads), hybrid-paper (the paper's network, loss and settings, whatever is said below), or one that a single
    task fits to the magnitudes (annz, boosted, cnn1d, fcnn, gat, knn, mlp, template)."""
    fit: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """Settings of the latter by name, e.g. ``[training.fit.mlp] members = 3``; each class's ``DEFAULTS`` lists its own.
    Of the settings below these fits read ``use_gpu``, ``cpus_per_worker``, ``threads_per_worker`` (0: one, so that a
    seed gives the same estimator on every machine), ``overwrite`` and ``max_failures``."""
    cutout_size: int = 36
    """[pixel] side of the cutouts: 7.2 arcsec at 0.2 arcsec a pixel."""
    batch_size: int = 32
    """Galaxies a step, over all workers together."""
    learning_rate: float = 1e-3
    decay: float = 0.9
    decay_steps: int = 10_000
    """The learning rate falls by ``decay`` each this many steps, continuously."""
    adam_epsilon: float = 1e-7
    """Added to Adam's denominator. Keras' default, which the paper used; torch's is 1e-8. With ``huber_delta`` 1e-4
    gradients are so small that it matters."""
    huber_delta: float = 1e-4
    """In ln(1 + z)."""
    head: Literal["mixture", "binned", "point"] = "mixture"
    """What hybrid and photometry give: p(z) as a mixture of Gaussians in ln(1 + z), p(z) in bins of it, or a point."""
    members: int = 4
    """Small networks that share all but the last two layers, each trained on galaxies drawn with replacement: their
    spread is the model's own uncertainty."""
    components: int = 5
    """Gaussians a member."""
    bins: int = 180
    """Of a binned density: 0.004 in ln(1 + z) each on a bright sample, a quarter of its scatter."""
    point_weight: float = 1.0
    """Of the point estimate's Huber loss, in units in which it is the absolute error over the targets' spread, beside
    the density's negative log likelihood."""
    dropped_weight: float = 0.5
    """Of the same galaxies with inputs dropped at random, beside those as they are: each step sees both."""
    drop_band: float = 0.1
    """Chance of each single band to be dropped: six of ten galaxies lose one or more of nine."""
    drop_unimaged: float = 0.2
    """Chance of all bands without images (KiDS: those of VIKING, which end at its footprint) to be dropped."""
    drop_image: float = 0.3
    """Chance of the image to be dropped: whole tiles lack it."""
    drop_photometry: float = 0.1
    """Chance of all magnitudes to be dropped, where the image is kept: rare in surveys."""
    drop_image_band: float = 0.1
    """Chance of one image band to be dropped, here also from the galaxies as they are: small, for it costs them. Where
    inputs are dropped its magnitude goes with it, as if the band had not been observed."""
    smooth_nz_width: float = 0.0
    """In redshift: weigh the training galaxies so that their n(z) is smooth at this scale (`photoz.deimprint`), which
    keeps the training fields' clusters and voids out of p(z); 0 weighs all alike."""
    max_epochs: int = 100
    patience: int = 10
    """Stop after this many epochs without a better validation loss."""
    shuffle_rows: int = 4096
    """Galaxies in the buffer that each worker draws its batches from (21 kB each with images)."""
    hold_gib: float = 1.0
    """[GiB] A split no larger than this is read once and held in Ray's object store, from which it streams to the
    workers each epoch; a larger one is read from its files each epoch. Saves some seconds an epoch."""
    workers: int = 2
    use_gpu: bool = False
    cpus_per_worker: float = 0.5
    """What Ray sets aside for a worker. Below 1, so that two workers on two CPUs leave room for the tasks that read the
    training set; without that room Ray waits for ever."""
    threads_per_worker: int = 0
    """CPU threads of a worker; 0: the machine's CPUs divided by ``workers``."""
    precision: Literal["float32", "bfloat16"] = "float32"
    overwrite: bool = False
    """Replace a trained estimator that has other settings or another training set."""
    max_failures: int = 3
    """Worker deaths to survive by resuming from the last checkpoint."""


class Inference(Settings, frozen=True):
    """How the catalogue is estimated."""

    estimator: str = "hybrid"
    """Name of a folder within ``locations.models``."""
    batch_size: int = 256
    """Galaxies a forward pass."""
    pdf: bool = True
    """Write p(z) where the estimator gives it; false: z_phot and flags alone, which for ``mlp`` takes a third of the
    time."""
    threads: int = 1
    """Of the network in each estimator. The same on every engine, since the last digits of a float32 sum depend on it
    and catalogues made by different engines must be identical."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products of the combined network; their sums are float32. bfloat16 is about twice as fast on processors
    that have it (AVX512-BF16, AMX; GPUs) and changes z_phot by some 1e-4 (docs/benchmarks/forward.md)."""
    join: bool = False
    """Work beside another run that is writing the same output, instead of refusing."""
    min_completeness: float = 0.0
    """Exit with an error when a smaller fraction of the rows has a finite z_phot."""


class Engine(Settings, frozen=True):
    """What spreads the work."""

    name: Literal["serial", "ray", "dask"] = "ray"
    address: str = ""
    """Of a running cluster; "" joins the Ray cluster that the job runs in, or starts a local one."""
    workers: int = 2
    """Tasks at one time, or worker processes of a local Dask cluster; in Ray inference, tasks that read tiles."""
    estimators: int = 1
    """Actors that hold the network (Ray inference). On CPUs one a core, with ``inference.threads`` = 1, does more than
    one with all cores, whose threads wait for each other where others run too (docs/benchmarks/reading.md)."""
    cpus_per_estimator: float = 1.0
    gpus_per_estimator: float = 0.0
    memory_gib: float = 2.0
    """[GiB] a worker may take."""
    retries: int = 3
    """Times a failed partition or task is tried again, with growing pauses. The store's own client tries again within
    each; see its options under ``storage``."""
    most_workers: int = 0
    """Let a local Dask cluster grow from ``workers`` to this many processes as work waits; 0 keeps it as it is."""
    most_cpus: float = 0.0
    """CPUs that an autoscaler may let the Ray cluster have, and it does not tell: a job that would need more is refused
    before it waits for ever. 0: the cluster stays as it is."""
    most_gpus: float = 0.0
    """As ``most_cpus``, of GPUs."""


class Evaluation(Settings, frozen=True):
    """What is compared with spectroscopic redshifts."""

    catalogues: dict[str, str] = msgspec.field(default_factory=dict)
    """Label -> catalogue location; empty: ``locations.catalogue`` alone."""
    published: bool = True
    """Set published figures (of other samples) beside ours."""
    sample: str = ""
    """What the test galaxies are, in the report's words; empty: said from the survey's name and what the files tell."""
    colour: tuple[str, str] = ("g", "r")
    """Bands whose magnitude difference is the colour to bin in; g - r straddles the 4000 A break over the bright
    sample's redshifts, and g is far deeper than u."""
    bins: int = 8
    """About how many bins of magnitude, redshift and colour; fewer for a small sample."""
    resamples: int = 200
    """Bootstrap samples; 200 give an error to 5 % of itself."""
    vector_figures: bool = False
    """Write each figure as PDF too."""
    seeing_key: str = "SEEING"
    """Header keyword of a tile's images with the seeing [arcsec], for the report; the simulated survey's. What the KiDS
    coadds call it is unchecked: where it is absent the report says so."""
    noise_key: str = "SKYNOISE"
    """Header keyword with the standard deviation of a pixel of empty sky [flux], from which the report computes the
    depth; the simulated survey's."""


class Nz(Settings, frozen=True):
    """The redshift distribution of the catalogue in tomographic bins (jobs/summarize_nz.py)."""

    edges: tuple[float, ...] = ()
    """In z_phot, of the tomographic bins; empty: ``bins`` bins with equally many galaxies."""
    bins: int = 5
    """As many as KiDS-1000's cosmic shear has."""
    highest_redshift: float = 1.0
    """Of the cells that n(z) is given on, which begin at 0; the share of p(z) beyond is recorded."""
    step: float = 0.01
    """In redshift, width of a cell: half the scatter of a good photometric redshift, or less."""
    resamples: int = 200
    """Bootstrap samples; 200 give an error to 5 % of itself."""
    exclude_flags: tuple[str, ...] = ()
    """Names of `photoz.schema.Flag`: rows with any of them are left out, as rows without z_phot always are."""
    output: str = ""
    """Folder of the result; "": ``nz`` within ``locations.report``."""


class Run(Settings, frozen=True):
    """Name and seed of a run."""

    name: str
    seed: int = 1


class Config(JobSettings, frozen=True, kw_only=True):
    """All settings of a run."""

    run: Run
    locations: Locations
    survey: Survey = Survey()
    selection: Selection = Selection()
    download: Download = Download()
    frame: Frame = Frame()
    tiles: Tiles = Tiles()
    ingest: Ingest = Ingest()
    sources: Sources = Sources()
    crossmatch: Crossmatch = Crossmatch()
    training: Training = Training()
    inference: Inference = Inference()
    engine: Engine = Engine()
    evaluation: Evaluation = Evaluation()
    nz: Nz = Nz()
    simulation: Simulation = Simulation()

    def check(self) -> None:
        """Raise `ConfigError` where settings do not fit together."""
        unknown = [band for band in self.survey.image_bands if band not in self.survey.bands]
        if unknown:
            raise ConfigError(f"survey.image_bands has {unknown}, which survey.bands {list(self.survey.bands)} lacks")
        if self.tiles.shard % self.tiles.chunk:
            raise ConfigError(
                f"tiles.shard = {self.tiles.shard} pixels is no multiple of tiles.chunk = {self.tiles.chunk} pixels"
            )
        if self.tiles.quantize < 0 or (self.tiles.quantize and self.tiles.codec == "none"):
            raise ConfigError(
                f"tiles.quantize = {self.tiles.quantize} with tiles.codec = {self.tiles.codec!r}: give a fraction of "
                "the noise, 0 or more, and above 0 tiles.codec = 'zstd', without which it saves nothing"
            )
        if abs(sum(self.crossmatch.fractions) - 1.0) > 1e-6 or min(self.crossmatch.fractions) < 0:
            raise ConfigError(f"crossmatch.fractions {self.crossmatch.fractions} must be non-negative and add up to 1")
        if not 0 <= self.sources.highest_order <= _HIGHEST_ORDER:
            raise ConfigError(
                f"sources.highest_order = {self.sources.highest_order}: partitioning holds the whole sky at this order "
                f"in memory, 400 MB at {_HIGHEST_ORDER} and 4 times more each step; choose 0 to {_HIGHEST_ORDER}"
            )
        if self.survey.pixel_scale <= 0:
            raise ConfigError(f"survey.pixel_scale = {self.survey.pixel_scale} arcsec must be positive")


def load_config(location: str, overrides: Sequence[str] = ()) -> Config:
    """Read the settings of a survey run; see `load_settings`."""
    return load_settings(Config, location, overrides)


def convert_config(values: Mapping[str, Any], *, origin: str = "settings") -> Config:
    """Turn nested mappings into a checked `Config`; raises `ConfigError` that names the key and the remedy."""
    return convert_settings(Config, values, origin=origin)
