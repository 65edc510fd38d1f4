#!/usr/bin/env python
"""Make the proof's survey on the object store, and look at what a run on it has done.

    survey.py make        tiles, sources, untrained estimators; nothing trained is needed to count rows
    survey.py forget      remove the catalogue
    survey.py done        print the pods that estimated partitions, the busiest first, and how many
    survey.py secrets     fail if any object holds the store's secret

The settings are those of PHOTOZ_CONFIG, the same that the pods get.
"""

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import boto3

from photoz.settings import config_to_dict
from photoz.settings.config import Config, load_config
from photoz.storage import find_filesystem, list_folder, read_json, remove, use_options

PARTITIONS = 60


def make(config: Config) -> None:
    """Ingest tiny tiles, a partition each, into the bucket of the settings."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
    from runs import make_survey, name_tiles  # imports torch: seconds that counting need not wait

    bucket = config.locations.catalogue.removeprefix("s3://").split("/")[0]
    boto3.resource("s3", endpoint_url=config.storage["s3"]["endpoint_url"]).Bucket(bucket).create()
    values = config_to_dict(config)
    kept = ("run", "tiles", "sources", "inference", "storage")
    locations = {name: place for name, place in values["locations"].items() if name != "survey"}
    with tempfile.TemporaryDirectory() as folder:
        sections = {name: values[name] for name in kept} | {"locations": locations}
        survey = make_survey(Path(folder) / "survey", name_tiles(PARTITIONS), **sections)
    print(f"{PARTITIONS} tiles, {len(survey.object_ids)} sources bright enough")


def count_by_host(config: Config) -> Counter[str]:
    """Count the partitions that are done by the host, which is the pod, that estimated them."""
    records = list_folder(f"{config.locations.catalogue}/run/records", "*.json")
    return Counter(str(read_json(file)["estimator"]).rpartition(":")[0] for file in records)


def look_for_secrets(config: Config) -> None:
    """Look for the store's secret in every object of the bucket."""
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    bucket = config.locations.catalogue.removeprefix("s3://").split("/")[0]
    store, _ = find_filesystem(config.locations.catalogue)
    files = store.find(bucket)
    found = [file for file in files if secret in store.cat_file(file)]
    assert not found, found
    print(f"{len(files)} objects, none holds the secret")


def main(action: str) -> None:
    config = load_config(os.environ["PHOTOZ_CONFIG"])
    use_options(config.storage_options)
    match action:
        case "make":
            make(config)
        case "forget":
            remove(config.locations.catalogue)
        case "done":
            for host, count in count_by_host(config).most_common():
                print(host, count)
        case "secrets":
            look_for_secrets(config)


if __name__ == "__main__":
    main(sys.argv[1])
