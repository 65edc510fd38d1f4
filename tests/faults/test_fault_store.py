"""An object store that answers 503, refuses, does not answer and cuts its answers short."""

from collections.abc import Iterator

import pytest
from fault_places import Place
from fault_table import Tally
from runs import ManyPartitions, assert_same_rows, change, make_survey, name_tiles, read_all

from cluster.inference.run import infer_catalogue
from photoz.settings import config_to_dict
from photoz.settings.config import convert_config
from photoz.storage import use_options

pytest.importorskip("moto.server", reason="the server of the object store: pip install 'photoz[test]'")

from object_store import FailingProxy, make_bucket, open_store

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with open_store() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def bucket(endpoint: str) -> Iterator[str]:
    with make_bucket(endpoint) as bucket:
        yield bucket


@pytest.fixture(scope="module")
def survey(endpoint: str, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    made = make_survey(tmp_path_factory.mktemp("store"), name_tiles(6), **Place(bucket, endpoint).settle("survey"))
    infer_catalogue(made.config)
    return made


@pytest.mark.parametrize(("engine", "every"), [("serial", 20), ("serial", 6), ("dask", 10), ("ray", 10)])
def test_one_in_so_many_requests_fails(
    survey: ManyPartitions, endpoint: str, bucket: str, tally: Tally, request: pytest.FixtureRequest,
    engine: str, every: int,
) -> None:  # fmt: skip
    if engine == "ray":
        request.getfixturevalue("ray_workers")
    use_options(survey.config.storage_options)
    expected = read_all(survey.config.locations.catalogue)
    catalogue = f"{bucket}/{engine}-{every}"
    with FailingProxy(endpoint, every) as proxy:
        values = config_to_dict(change(survey.config, engine__name=engine, locations__catalogue=catalogue))
        config = convert_config(values | {"storage": {"s3": {"endpoint_url": proxy.endpoint}}})
        use_options(config.storage_options)
        infer_catalogue(config)
        failed = dict(proxy.failures)
    use_options(survey.config.storage_options)
    assert all(failed.values())
    quiet = change(survey.config, locations__catalogue=catalogue)
    fault = f"{engine}: one in {every} requests fails"
    tally.check(fault, quiet, survey.object_ids, times=sum(failed.values()))
    assert_same_rows(read_all(catalogue), expected)
