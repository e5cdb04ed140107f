"""The worker's metrics, in Prometheus' conventions; shards are the only label that grows."""

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("churn_stream_records", "Records read, dead letters included.")
BYTES = Counter("churn_stream_bytes", "Bytes of data read.")
DEAD_LETTERS = Counter("churn_stream_dead_letters", "Records that are no customer.")
REFUSED = Counter(
    "churn_stream_refused_answers", "Answers that Kinesis refused for now; they are sent again."
)
LEASE_CHANGES = Counter("churn_stream_lease_changes", "Shards won and lost, by how.", ["change"])
BATCH = Histogram(
    "churn_stream_batch_records",
    "Records in a batch.",
    buckets=(1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000),
)
SCORING = Histogram(
    "churn_stream_score_seconds",
    "Time to turn a batch of bytes into answers and log rows.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
LATENCY = Histogram(
    "churn_stream_latency_seconds",
    "From a batch's oldest record entering the stream to the whole batch being published.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
BEHIND = Gauge(
    "churn_stream_millis_behind_latest", "How far the last read was behind the tip.", ["shard"]
)
SHARDS = Gauge("churn_stream_shards", "Shards that this worker reads.")
TROUBLES = Gauge("churn_stream_troubles", "Steps that are being retried; /readyz names them.")
READY = Gauge("churn_stream_ready", "1 when a model is loaded and every step works.")
SWAPS = Gauge("churn_stream_champion_swaps", "Champions replaced without a restart.")
FAILURES = Gauge("churn_stream_champion_failures", "Times a champion could not be loaded.")
OUTBOX = Gauge("churn_stream_outbox_rows", "Log rows on their way to the prediction store.")
