"""Dashboard and alerts ask for metrics that `cluster.telemetry` makes, by the names that Ray gives them."""

import json
import re
from typing import Any

import pytest
import yaml
from rendered import DEPLOY

import cluster.telemetry

RAYS_OWN = {"ray_node_mem_used", "ray_node_mem_total"}
LABELS = {"stage": "photoz_stage_seconds", "estimator": "photoz_busy_fraction"}


@pytest.fixture
def exported(ray_cluster: None) -> dict[str, Any]:
    """Metrics by the name that Prometheus sees: Ray puts `ray_` before and `_total` after a counter's."""
    made = cluster.telemetry._make_ray_metrics()
    assert made
    return {f"ray_{name}{'_total' if type(made[name]).__name__ == 'Counter' else ''}": made[name] for name in made}


def list_expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "monitoring" / "dashboard.json").read_text())
    alerts = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    return panels + rules


def test_every_metric_asked_for_is_made_and_every_one_made_is_shown(exported: dict[str, Any]) -> None:
    asked = {name for expression in list_expressions() for name in re.findall(r"\bray_\w+", expression)}
    assert asked - RAYS_OWN == exported.keys()
    for label, name in LABELS.items():
        (metric,) = (each for key, each in exported.items() if name in key)
        assert metric.info["tag_keys"] == (label,)


def test_every_expression_can_be_parsed() -> None:
    promql_parser = pytest.importorskip("promql_parser")
    for expression in list_expressions():
        promql_parser.parse(expression.replace("$session", ".*"))


def test_the_dashboard_is_one() -> None:
    dashboard = json.loads((DEPLOY / "monitoring" / "dashboard.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 5
    assert dashboard["uid"] == "photoz"
    variables = {each["name"] for each in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(panels)))
    assert used <= variables
    cells = [cell for panel in panels for cell in list_cells(**panel["gridPos"])]
    assert len(cells) == len(set(cells)), "panels overlap"
    assert max(x for x, _ in cells) < 24


def list_cells(x: int, y: int, w: int, h: int) -> list[tuple[int, int]]:
    return [(column, row) for column in range(x, x + w) for row in range(y, y + h)]
