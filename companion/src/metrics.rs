//! What is counted of requests, and how it is written for Prometheus (its text format, version 0.0.4). A
//! label is a method, a route's pattern, a status or a word of ours: never a name, a project or a token.

use crate::db::Database;
use crate::envelope::known_method;
use crate::figures::Figures;
use crate::state::AppState;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The upper bounds of the histogram's buckets, in seconds, as they are written.
const BUCKETS: [(f64, &str); 13] = [
    (0.001, "0.001"),
    (0.0025, "0.0025"),
    (0.005, "0.005"),
    (0.01, "0.01"),
    (0.025, "0.025"),
    (0.05, "0.05"),
    (0.1, "0.1"),
    (0.25, "0.25"),
    (0.5, "0.5"),
    (1.0, "1"),
    (2.5, "2.5"),
    (5.0, "5"),
    (10.0, "10"),
];

/// What is counted since the start of this process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    routes: Mutex<BTreeMap<String, OfRoute>>,
}

#[derive(Debug, Default)]
struct OfRoute {
    answers: BTreeMap<(&'static str, u16), u64>,
    /// How many fell into each bucket, and not into one before it.
    buckets: [u64; BUCKETS.len()],
    count: u64,
    seconds: f64,
}

/// The middleware around all others.
pub(crate) async fn count(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let method = known_method(request.method());
    let begun = Instant::now();
    let response = next.run(request).await;
    let route = path.as_ref().map_or("none", MatchedPath::as_str);
    let status = response.status().as_u16();
    state.metrics.add(route, method, status, begun.elapsed());
    response
}

impl Metrics {
    fn add(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        // A number that a panic left half changed is a number still.
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if !routes.contains_key(route) {
            routes.insert(route.to_owned(), OfRoute::default());
        }
        let Some(counted) = routes.get_mut(route) else {
            return;
        };
        *counted.answers.entry((method, status)).or_default() += 1;
        counted.count += 1;
        counted.seconds += took.as_secs_f64();
        let took = took.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|(bound, _)| took <= *bound) {
            counted.buckets[bucket] += 1;
        }
    }

    /// Everything there is to say.
    pub(crate) fn render(&self, database: &Database, figures: Option<&Figures>) -> String {
        let mut text = String::with_capacity(8192);
        // Writing into a String does not fail.
        let _ = self.requests(&mut text);
        let _ = pool(&mut text, database);
        let _ = of_database(&mut text, figures);
        text
    }

    fn requests(&self, text: &mut String) -> std::fmt::Result {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let name = "pg_secrets_http_requests_total";
        head(text, name, "counter", "Requests that were answered.")?;
        for (route, counted) in routes.iter() {
            for ((method, status), count) in &counted.answers {
                let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
                writeln!(text, "{name}{{{labels}}} {count}")?;
            }
        }
        let name = "pg_secrets_http_request_duration_seconds";
        head(text, name, "histogram", "How long requests took.")?;
        for (route, counted) in routes.iter() {
            let mut sum = 0;
            for ((_, bound), count) in BUCKETS.iter().zip(counted.buckets) {
                sum += count;
                writeln!(
                    text,
                    "{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {sum}"
                )?;
            }
            let (count, seconds) = (counted.count, counted.seconds);
            writeln!(
                text,
                "{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {count}"
            )?;
            writeln!(text, "{name}_sum{{route=\"{route}\"}} {seconds}")?;
            writeln!(text, "{name}_count{{route=\"{route}\"}} {count}")?;
        }
        Ok(())
    }
}

fn pool(text: &mut String, database: &Database) -> std::fmt::Result {
    let status = database.status();
    let name = "pg_secrets_pool_connections";
    head(text, name, "gauge", "Connections to the database.")?;
    let idle = status.available.min(status.size);
    writeln!(text, "{name}{{state=\"idle\"}} {idle}")?;
    writeln!(text, "{name}{{state=\"used\"}} {}", status.size - idle)?;
    let (most, waiting) = (status.max_size, status.waiting);
    gauge(text, "pool_connections_max", "How many there may be.", most)?;
    let help = "Requests that wait for a connection.";
    gauge(text, "pool_waiting", help, waiting)
}

fn of_database(text: &mut String, figures: Option<&Figures>) -> std::fmt::Result {
    let help = "Whether the database gave the figures below.";
    gauge(text, "database_up", help, u8::from(figures.is_some()))?;
    let Some(figures) = figures else {
        return Ok(());
    };
    let help = "Whether the server has a key.";
    gauge(text, "key_available", help, u8::from(figures.key_available))?;
    let name = "pg_secrets_worker_running";
    head(
        text,
        name,
        "gauge",
        "Whether a worker of the extension runs.",
    )?;
    for (worker, runs) in figures.workers {
        if let Some(runs) = runs {
            writeln!(text, "{name}{{worker=\"{worker}\"}} {}", u8::from(runs))?;
        }
    }
    for (name, help, value) in [
        (
            "outbox_pending",
            "Webhooks that are neither delivered nor given up, 20000 at most.",
            figures.pending_deliveries,
        ),
        (
            "audit_unchained_records",
            "Records of the audit that the chain does not cover yet, 40000 at most.",
            figures.unchained_records,
        ),
        (
            "denied_reads_last_hour",
            "Reads that were refused within the last hour, 20000 at most.",
            figures.denied_reads,
        ),
        (
            "versions_in_grace",
            "Superseded versions that can still be read, 20000 at most.",
            figures.versions_in_grace,
        ),
        (
            "stragglers",
            "Consumers that read one of those last.",
            figures.stragglers,
        ),
    ] {
        gauge(text, name, help, value)?;
    }
    let help = "How long the oldest webhook waits.";
    gauge(text, "outbox_oldest_seconds", help, figures.oldest_pending)?;
    let help = "How old the oldest record is that the chain does not cover yet.";
    gauge(text, "audit_lag_seconds", help, figures.oldest_unchained)
}

fn gauge(
    text: &mut String,
    name: &str,
    help: &str,
    value: impl std::fmt::Display,
) -> std::fmt::Result {
    let name = ["pg_secrets_", name].concat();
    head(text, &name, "gauge", help)?;
    writeln!(text, "{name} {value}")
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let metrics = Metrics::default();
        for milliseconds in [1, 1, 3, 700, 20_000] {
            let took = Duration::from_millis(milliseconds);
            metrics.add("/r", "GET", 200, took);
        }
        let mut text = String::new();
        metrics.requests(&mut text).unwrap();
        for line in [
            r#"_requests_total{method="GET",route="/r",status="200"} 5"#,
            r#"_bucket{route="/r",le="0.001"} 2"#,
            r#"_bucket{route="/r",le="0.0025"} 2"#,
            r#"_bucket{route="/r",le="0.005"} 3"#,
            r#"_bucket{route="/r",le="1"} 4"#,
            r#"_bucket{route="/r",le="10"} 4"#,
            r#"_bucket{route="/r",le="+Inf"} 5"#,
            r#"_count{route="/r"} 5"#,
        ] {
            assert!(text.lines().any(|l| l.ends_with(line)), "{line}\n{text}");
        }
    }
}
