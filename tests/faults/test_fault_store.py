"""An object store that answers 503, refuses, does not answer and cuts its answers short."""

from collections.abc import Iterator

import pytest
from fault_table import Tally
from runs import ManyPartitions, assert_same_rows, change, make_survey, name_tiles, read_all

from cluster.infer import infer_catalogue
from photoz.config import config_to_dict, configure_storage, convert_config

pytest.importorskip("moto.server", reason="the server of the object store: pip install 'photoz[test]'")

from object_store import FailingProxy, make_bucket, run_moto

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with run_moto() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def survey(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    bucket = make_bucket(endpoint, "faults")
    names = ("tiles", "sources", "training", "models", "catalogue", "report")
    made = make_survey(
        tmp_path_factory.mktemp("store"),
        name_tiles(6),
        locations={name: f"{bucket}/{name}" for name in names},
        storage={"s3": {"endpoint_url": endpoint}},
    )
    infer_catalogue(made.config)
    return made


@pytest.mark.parametrize(("engine", "every"), [("serial", 20), ("serial", 6), ("dask", 10)])
def test_one_in_so_many_requests_fails(
    survey: ManyPartitions, endpoint: str, tally: Tally, engine: str, every: int
) -> None:
    configure_storage(survey.config)
    expected = read_all(survey.config.locations.catalogue)
    catalogue = f"s3://faults/{engine}-{every}"
    with FailingProxy(endpoint, every) as proxy:
        values = config_to_dict(change(survey.config, engine__name=engine, locations__catalogue=catalogue))
        config = convert_config(values | {"storage": {"s3": {"endpoint_url": proxy.endpoint}}})
        configure_storage(config)
        infer_catalogue(config)
        failed = dict(proxy.failures)
    configure_storage(survey.config)
    assert all(failed.values())
    quiet = change(survey.config, locations__catalogue=catalogue)
    fault = f"{engine}: one in {every} requests fails"
    tally.check(fault, quiet, survey.object_ids, times=sum(failed.values()))
    assert_same_rows(read_all(catalogue), expected)
