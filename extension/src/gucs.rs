//! The settings of postgresql.conf, each with its default. All of them are read at the server's
//! start or on reload; none can be changed by a session, so that no caller can loosen one.

use crate::keys::key_file;
use crate::redaction::wrappers;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;
use std::ffi::{CStr, CString, c_char, c_void};
use std::time::Duration;

static DATABASE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"postgres"));
static KEY_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static TRUSTED_LOGINS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static REDACT_ALSO: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static RETRY_SCHEDULE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(
    c"1s, 2s, 4s, 8s, 16s, 32s, 64s, 10min, 30min, 1h, 2h, 4h, 8h, 12h, 20h, 24h",
));
static GRACE_PERIOD: GucSetting<i32> = GucSetting::<i32>::new(24 * 60 * 60);
static EXPIRY_WARNING: GucSetting<i32> = GucSetting::<i32>::new(60 * 60);
static PURGE_AFTER: GucSetting<i32> = GucSetting::<i32>::new(30 * 24 * 60 * 60);
static MAX_VALUE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(64 * 1024);
static AUDIT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(5000);
static AUDIT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(0);
static AUDIT_HEAD_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60 * 60);
static MAINTENANCE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);
static DENIED_THRESHOLD: GucSetting<i32> = GucSetting::<i32>::new(10);
static WORKERS: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Ten years: longer than any grace that is still a grace, and far from the calendar's end.
pub(crate) const LONGEST_SECONDS: i32 = 10 * 366 * 24 * 60 * 60;

/// Registers the settings; once, when the library is preloaded.
pub(crate) fn register() {
    GucRegistry::define_string_guc(
        c"pg_secrets.database",
        c"The database that holds the extension.",
        c"One database of a cluster holds pg_secrets; its workers connect there.",
        &DATABASE,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    register_key_file();
    GucRegistry::define_string_guc(
        c"pg_secrets.trusted_logins",
        c"Login roles whose requests act for the subject that they authenticate, separated by commas.",
        c"The companion's login, PostgREST's authenticator. Such a login has no rights of its own.",
        &TRUSTED_LOGINS,
        GucContext::Sighup,
        GucFlags::default(),
    );
    register_redact_also();
    register_retry_schedule();
    GucRegistry::define_int_guc(
        c"pg_secrets.grace_period",
        c"How long a superseded version stays readable.",
        c"A rotation can say otherwise for itself. 0 destroys the old version at once.",
        &GRACE_PERIOD,
        0,
        LONGEST_SECONDS,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pg_secrets.expiry_warning",
        c"How long before a version's grace ends the event secret.expiring tells of it.",
        c"At once where the grace is shorter. 0 never does it.",
        &EXPIRY_WARNING,
        0,
        LONGEST_SECONDS,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pg_secrets.purge_after",
        c"How long a deleted secret can be restored before it is purged.",
        c"",
        &PURGE_AFTER,
        0,
        LONGEST_SECONDS,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pg_secrets.max_value_size",
        c"The longest value that a secret may have, in bytes.",
        c"",
        &MAX_VALUE_SIZE,
        1,
        16 << 20,
        GucContext::Sighup,
        GucFlags::UNIT_BYTE,
    );
    register_audit();
    GucRegistry::define_bool_guc(
        c"pg_secrets.workers",
        c"Whether the background workers of pg_secrets run that act by themselves.",
        c"Off for a physical copy of a server, so that it sends nothing in the original's name. The workers of the audit run all the same: without them nothing can be read, and nothing is chained.",
        &WORKERS,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    crate::outbox::settings::register();
    reserve_prefix();
}

fn register_audit() {
    GucRegistry::define_int_guc(
        c"pg_secrets.audit_timeout",
        c"How long a read waits for its record to become durable.",
        c"When it is over the read fails, and nothing is released.",
        &AUDIT_TIMEOUT,
        10,
        600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pg_secrets.audit_retention",
        c"How long the audit keeps its records.",
        c"Older ones are removed from the beginning of the chain, and a signed checkpoint says up to where. 0 keeps them for ever.",
        &AUDIT_RETENTION,
        0,
        LONGEST_SECONDS,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pg_secrets.audit_head_interval",
        c"How often the head of the audit's chain is signed, written to the log and sent as event audit.head.",
        c"Only when there is something new. 0 never does it.",
        &AUDIT_HEAD_INTERVAL,
        0,
        LONGEST_SECONDS,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pg_secrets.denied_threshold",
        c"After how many refused reads of an actor within ten minutes the event audit.denied tells of it.",
        c"0 never does it; each refusal is recorded all the same.",
        &DENIED_THRESHOLD,
        0,
        1000,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_secrets.maintenance_interval",
        c"How often the workers look for what is due.",
        c"What a function made due is looked for when it is due, without waiting for this; the interval is for what failed before, for what was changed by hand, and for the records of the audit.",
        &MAINTENANCE_INTERVAL,
        1,
        24 * 60 * 60,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
}

#[allow(unsafe_code)]
fn register_key_file() {
    // SAFETY: the hooks neither panic nor raise.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"pg_secrets.key_file",
            c"A file of OpenPGP secret keys; the first one that can encrypt is the primary key.",
            c"Read again with every reload. While it is set, PG_SECRETS_KEY and PG_SECRETS_KEY_FILE do not count.",
            &KEY_FILE,
            GucContext::Sighup,
            GucFlags::default(),
            Some(key_file::check_hook),
            Some(key_file::assign_hook),
            None,
        );
    }
}

#[allow(unsafe_code)]
fn register_redact_also() {
    // SAFETY: the hook neither panics nor raises.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"pg_secrets.redact_also",
            c"Functions, procedures, tables and views of your own that values are passed to, separated by commas.",
            c"A statement that names one of them is kept out of the log and the statistics as one that names pg_secrets itself.",
            &REDACT_ALSO,
            GucContext::Sighup,
            GucFlags::default(),
            None,
            Some(wrappers::assign),
            None,
        );
    }
}

#[allow(unsafe_code)]
fn register_retry_schedule() {
    // SAFETY: the check hook neither panics nor raises.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"pg_secrets.retry_schedule",
            c"How long a failed webhook waits before each further try, separated by commas.",
            c"Each is a number with a unit: ms, s, min, h or d. After the last one the delivery has failed.",
            &RETRY_SCHEDULE,
            GucContext::Sighup,
            GucFlags::default(),
            Some(check_retry_schedule),
            None,
            None,
        );
    }
}

/// Whether a schedule can be read; one that cannot is refused, and the old one stays.
#[allow(unsafe_code)]
unsafe extern "C-unwind" fn check_retry_schedule(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: Postgres passes a pointer to a C string or NULL.
    let text = unsafe {
        if value.is_null() || (*value).is_null() {
            return true;
        }
        CStr::from_ptr(*value).to_bytes()
    };
    std::str::from_utf8(text).is_ok_and(|text| parse_schedule(text).is_some())
}

#[allow(unsafe_code)]
fn reserve_prefix() {
    // SAFETY: a valid C string; called while the library is loaded, after all settings are defined.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"pg_secrets".as_ptr()) };
}

fn text(setting: &GucSetting<Option<CString>>) -> String {
    setting
        .get()
        .and_then(|text| text.into_string().ok())
        .unwrap_or_default()
}

/// The name of the database that holds the extension.
pub(crate) fn database() -> String {
    text(&DATABASE)
}

/// The file of keys; empty where the keys come from the environment.
pub(crate) fn key_file() -> String {
    text(&KEY_FILE)
}

/// Whether `login` is one of the trusted logins; names are compared byte for byte.
pub(crate) fn is_trusted_login(login: &str) -> bool {
    text(&TRUSTED_LOGINS)
        .split(',')
        .map(|name| name.trim().trim_matches('"'))
        .any(|name| !name.is_empty() && name == login)
}

/// How long a superseded version stays readable where nothing else is said.
pub(crate) fn grace_period() -> Duration {
    seconds(&GRACE_PERIOD)
}

/// How long before the end of its grace a version is warned of; zero for never.
pub(crate) fn expiry_warning() -> Duration {
    seconds(&EXPIRY_WARNING)
}

/// How long a deleted secret can be restored.
pub(crate) fn purge_after() -> Duration {
    seconds(&PURGE_AFTER)
}

fn seconds(setting: &GucSetting<i32>) -> Duration {
    Duration::from_secs(u64::try_from(setting.get()).unwrap_or(0))
}

/// The longest value, in bytes.
pub(crate) fn max_value_size() -> usize {
    usize::try_from(MAX_VALUE_SIZE.get()).unwrap_or(0)
}

/// How long a read waits for its record to become durable.
pub(crate) fn audit_timeout() -> Duration {
    Duration::from_millis(u64::try_from(AUDIT_TIMEOUT.get()).unwrap_or(0))
}

/// How long the audit keeps its records; `None` for ever.
pub(crate) fn audit_retention() -> Option<Duration> {
    Some(seconds(&AUDIT_RETENTION)).filter(|time| !time.is_zero())
}

/// How often the head of the audit's chain is signed and announced; `None` never.
pub(crate) fn audit_head_interval() -> Option<Duration> {
    Some(seconds(&AUDIT_HEAD_INTERVAL)).filter(|time| !time.is_zero())
}

/// How often the workers look for what is due.
pub(crate) fn maintenance_interval() -> Duration {
    seconds(&MAINTENANCE_INTERVAL)
}

/// How many refused reads of an actor are an alarm; 0 for none.
pub(crate) fn denied_threshold() -> i32 {
    DENIED_THRESHOLD.get()
}

/// Whether the workers run that act by themselves.
pub(crate) fn workers() -> bool {
    WORKERS.get()
}

/// The waits before the second, third, … try of a webhook.
pub(crate) fn retry_schedule() -> Vec<Duration> {
    parse_schedule(&text(&RETRY_SCHEDULE)).unwrap_or_default()
}

fn parse_schedule(text: &str) -> Option<Vec<Duration>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    text.split(',')
        .map(|entry| parse_duration(entry.trim()))
        .collect()
}

fn parse_duration(entry: &str) -> Option<Duration> {
    let digits = entry
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(entry.len());
    let number: u64 = entry[..digits].parse().ok()?;
    let milliseconds = match entry[digits..].trim() {
        "ms" => 1,
        "" | "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let wait = Duration::from_millis(number.checked_mul(milliseconds)?);
    (wait <= LONGEST_WAIT).then_some(wait)
}

/// The longest wait before a try.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
