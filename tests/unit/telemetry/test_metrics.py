from prometheus_client.parser import text_string_to_metric_families

from kubelet_bridge.telemetry.metrics import Metrics


async def samples(metrics: Metrics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families((await metrics.scrape())[0].decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def test_a_request_is_counted_by_verb_resource_and_code() -> None:
    metrics = Metrics()
    metrics.observe_api_request("patch", "pods/status", 200, 0.003)
    metrics.observe_api_request("patch", "pods/status", 409, 0.003)
    found = await samples(metrics)
    key = (("code", "200"), ("resource", "pods/status"), ("verb", "patch"))
    assert found["kubelet_bridge_api_requests_total"][key] == 1
    assert found["kubelet_bridge_api_request_duration_seconds_count"][key[1:]] == 2


async def test_the_length_of_a_watch_is_not_a_request_duration() -> None:
    metrics = Metrics()
    metrics.observe_api_request("watch", "pods", 200, 300.0)
    assert "kubelet_bridge_api_request_duration_seconds_count" not in (await samples(metrics))


async def test_counts_are_taken_at_each_scrape_and_leave_nothing_behind() -> None:
    metrics, pods = Metrics(), {"Running": 3}
    metrics.count("pods", "Pods on this node.", "phase", lambda: pods)
    assert (await samples(metrics))["kubelet_bridge_pods"] == {(("phase", "Running"),): 3}
    pods.clear()
    pods["Pending"] = 1
    assert (await samples(metrics))["kubelet_bridge_pods"] == {(("phase", "Pending"),): 1}


async def test_two_registries_do_not_share() -> None:
    one, other = Metrics(), Metrics()
    one.queue_depth.set(7)
    assert (await samples(other))["kubelet_bridge_workqueue_depth"] == {(): 0}


async def test_the_scraper_chooses_the_form() -> None:
    metrics = Metrics("1.2.3")
    body, content_type = await metrics.scrape("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    text, plain = await metrics.scrape()
    assert plain.startswith("text/plain")
    assert b'version="1.2.3"' in text


async def test_the_process_itself_is_measured() -> None:
    found = await samples(Metrics())
    assert found["process_resident_memory_bytes"][()] > 1e6
