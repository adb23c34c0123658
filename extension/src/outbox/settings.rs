//! The settings of delivery, beside `pg_secrets.retry_schedule`.

use crate::gucs::LONGEST_SECONDS;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::time::Duration;

const DAY: i32 = 24 * 60 * 60;

static ENDPOINT_CONCURRENCY: GucSetting<i32> = GucSetting::<i32>::new(16);
static PROJECT_CONCURRENCY: GucSetting<i32> = GucSetting::<i32>::new(64);
static ENDPOINTS_PER_PROJECT: GucSetting<i32> = GucSetting::<i32>::new(100);
static ENDPOINT_FAILURE_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(5 * DAY);
static DELIVERY_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(30 * DAY);

/// Registers them; once, when the library is preloaded.
pub(crate) fn register() {
    GucRegistry::define_int_guc(
        c"pg_secrets.endpoint_concurrency",
        c"How many webhooks are under way to one endpoint at a time.",
        c"By all companions together. An endpoint that does not answer within five seconds, or asks for less, gets one at a time.",
        &ENDPOINT_CONCURRENCY,
        1,
        1000,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_secrets.project_concurrency",
        c"How many webhooks are under way to the endpoints of one project at a time.",
        c"By all companions together. What hangs in one project takes no more from the others.",
        &PROJECT_CONCURRENCY,
        1,
        10_000,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_secrets.endpoints_per_project",
        c"How many endpoints one project may have.",
        c"Those that there are when it is lowered stay.",
        &ENDPOINTS_PER_PROJECT,
        1,
        10_000,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_secrets.endpoint_failure_limit",
        c"How long an endpoint may fail, without a success between, before it is disabled.",
        c"The event endpoint.disabled tells of it.",
        &ENDPOINT_FAILURE_LIMIT,
        1,
        LONGEST_SECONDS,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pg_secrets.delivery_retention",
        c"How long events, deliveries and their tries are kept after their end.",
        c"What tells of a version that can still be read stays as long as that. 0 keeps them for ever.",
        &DELIVERY_RETENTION,
        0,
        LONGEST_SECONDS,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
}

/// How many webhooks may be under way to one endpoint.
pub(super) fn endpoint_concurrency() -> i32 {
    ENDPOINT_CONCURRENCY.get()
}

/// How many webhooks may be under way to the endpoints of one project.
pub(super) fn project_concurrency() -> usize {
    usize::try_from(PROJECT_CONCURRENCY.get()).unwrap_or(1)
}

/// How many endpoints one project may have.
pub(super) fn endpoints_per_project() -> i32 {
    ENDPOINTS_PER_PROJECT.get()
}

/// How long an endpoint may fail before it is disabled, in microseconds.
pub(super) fn endpoint_failure_limit() -> i64 {
    i64::from(ENDPOINT_FAILURE_LIMIT.get()) * 1_000_000
}

/// How long what is over is kept; `None` for ever.
pub(super) fn delivery_retention() -> Option<Duration> {
    u64::try_from(DELIVERY_RETENTION.get())
        .ok()
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}
