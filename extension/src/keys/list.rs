//! pgp_keys: which keys there are, and which are still needed.

use crate::access::identity::Caller;
use crate::access::rights::Rights;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::keys::keyring;
use std::time::UNIX_EPOCH;

static KEYS: Statement = Statement::new(
    c"SELECT coalesce(k.fingerprint, u.key_fingerprint), k.algorithm, to_timestamp(k.created::double precision), coalesce(k.fingerprint = $4, false), k.fingerprint IS NOT NULL, coalesce(u.versions, 0), coalesce(u.endpoints, 0) FROM unnest($1, $2, $3) WITH ORDINALITY AS k (fingerprint, algorithm, created, place) FULL JOIN control_plane.key_usage AS u ON u.key_fingerprint = k.fingerprint ORDER BY k.place NULLS LAST, 1",
);

/// pgp_keys: the server's keys in their order, and behind them those that are needed and missing.
/// Without any key it still answers, since it says which one to look for.
pub(crate) fn pgp_keys<'s>(
    session: &'s Session,
    caller: &Caller,
    _arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    Rights::of_administrator(session, caller)?;
    let held = keyring::require().ok();
    let known = held.as_ref().map_or(&[][..], |held| held.keyring().keys());
    let column = |of: fn(&pg_secrets_openpgp::KeyDescription) -> String| -> Vec<String> {
        known.iter().map(of).collect()
    };
    let fingerprints = column(|key| key.fingerprint.clone());
    let algorithms = column(|key| key.algorithm.clone());
    let created = column(|key| {
        let since = key.created.duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_secs().to_string()
    });
    let primary = held
        .as_ref()
        .map(|held| held.keyring().primary_fingerprint());
    let rows = session.run(
        &KEYS,
        &[
            Param::Texts(Some(&fingerprints)),
            Param::Texts(Some(&algorithms)),
            Param::Texts(Some(&created)),
            Param::Text(primary),
        ],
    )?;
    Ok(Answer::Rows(rows))
}
