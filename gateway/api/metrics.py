"""The node's counters and gauges in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from gateway.core.operations import Operations

_PREFIX = "xxljob_gateway_"


class HealthCollector:
    """Asks for the node's health at each scrape; nothing is counted twice."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def collect(self) -> Iterator[Metric]:
        health = self._operations.health()
        for name, count in sorted(health.counters.items()):
            words = name.removesuffix("_total").replace("_", " ")
            yield CounterMetricFamily(_PREFIX + name, f"{words}, since the start", value=count)
        for name, value in sorted(health.gauges.items()):
            yield GaugeMetricFamily(_PREFIX + name, name.replace("_", " "), value=value)
        yield GaugeMetricFamily(_PREFIX + "ready", "whether the node is ready", value=not health.problems)


def registry_of(operations: Operations) -> CollectorRegistry:
    """A registry of our own: the default one belongs to the process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(HealthCollector(operations))
    return registry
