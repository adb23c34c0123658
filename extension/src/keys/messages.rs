//! pgp_encrypt, pgp_decrypt, armor and dearmor: OpenPGP messages that belong to no secret, as users
//! of pgcrypto know them. What they make is never taken for the value of a secret.

use crate::access::identity::Caller;
use crate::access::rights::Rights;
use crate::audit::durable;
use crate::audit::reads::{self, Attempt};
use crate::audit::record::{Encoder, Record};
use crate::backend::answer::{Answer, refuse_spill};
use crate::backend::arguments::Arguments;
use crate::backend::session::Session;
use crate::error::{Error, Result};
use crate::gucs;
use crate::keys::keyring;
use crate::lifecycle::version::{self, Version};
use pg_secrets_openpgp::{ArmorError, DecryptError, Place, PlaceKind};
use serde_json::json;
use zeroize::Zeroizing;

/// The longest password, in bytes.
const LONGEST_PASSWORD: usize = 16 << 10;

/// The longest message, in bytes: twice the longest value, for armor and what stands around it.
fn longest_message() -> usize {
    2 * gucs::max_value_size() + (64 << 10)
}

/// Records an administrator's use, whatever becomes of the transaction: what was decrypted is known then.
fn record_use(caller: &Caller, rights: &Rights, mut record: Record, with: &str) -> Result<()> {
    record.add_detail("with", json!(with));
    let record = record.by_administrator(rights.is_administrator());
    durable::write(&[Encoder::new(caller).encode(record)?])
}

/// pgp_encrypt: a message to the primary key.
pub(crate) fn pgp_encrypt<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let rights = Rights::of_administrator(session, caller)?;
    let value = arguments.secret(0, "value", gucs::max_value_size())?;
    let held = keyring::require()?;
    let sealed = held.keyring().encrypt(value.as_bytes());
    let sealed = sealed.map_err(|error| keyring::cannot_seal(&error))?;
    let record = Record::new("pgp.encrypted");
    record_use(caller, &rights, record, &sealed.fingerprint)?;
    Ok(Answer::Bytes(sealed.message))
}

/// pgp_decrypt: the text of a message to one of the server's keys, or with a password of one that
/// pgcrypto's pgp_sym_encrypt wrote.
pub(crate) fn pgp_decrypt<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    reads::or_refused(session, caller, Attempt::default(), || {
        decrypt(session, caller, arguments)
    })
}

fn decrypt<'s>(
    session: &Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let rights = Rights::of_administrator(session, caller)?;
    let message = arguments.bytes(0, "message", longest_message())?;
    let limit = gucs::max_value_size();
    let mut record = Record::new("pgp.decrypted");
    let (decrypted, with) = if arguments.is_null(1) {
        let held = keyring::require()?;
        let decrypted = held.keyring().decrypt(&message, limit);
        let decrypted = decrypted.map_err(|error| cannot_decrypt(&error))?;
        if let Some(place) = decrypted.place {
            name_secret(session, place, &mut record)?;
        }
        (decrypted.value, "key")
    } else {
        let password = arguments.secret(1, "password", LONGEST_PASSWORD)?;
        let password = password.as_bytes();
        let decrypted = pg_secrets_openpgp::decrypt_with_password(&message, password, limit);
        let decrypted = decrypted.map_err(|error| cannot_decrypt(&error))?;
        (decrypted, "password")
    };
    refuse_spill(decrypted.len())?;
    let text = into_text(decrypted)?;
    record_use(caller, &rights, record, with)?;
    Ok(Answer::Text(text))
}

/// Says in the record which secret it was, where the message is one of its values: out of its row, or
/// out of a backup when the row may be gone.
fn name_secret(session: &Session, place: Place, record: &mut Record) -> Result<()> {
    if place.kind == PlaceKind::Endpoint {
        record.detail = Some(json!({"endpoint_id": place.id}));
        return Ok(());
    }
    record.secret_id = Some(place.id);
    if let Some(row) = version::by_id(session, place.id)? {
        let version = Version::read(&row)?;
        record.project_id = Some(version.project_id);
        record.name = Some(version.name);
        record.version = Some(version.number);
    }
    Ok(())
}

fn cannot_decrypt(error: &DecryptError) -> Error {
    let said = error.to_string();
    match error {
        DecryptError::NoKey => Error::unprocessable(said).with_hint(
            "control_plane.pgp_keys() shows the keys of this server. A message that pgp_sym_encrypt wrote needs its password as second argument.",
        ),
        DecryptError::Malformed => Error::unprocessable(said).with_hint(
            "The binary form is read; text goes through control_plane.dearmor() first. What pgcrypto wrote with disable-mdc=1 only pgcrypto reads.",
        ),
        DecryptError::Password => Error::unprocessable(said),
        DecryptError::TooLong(_) => Error::too_large(said)
            .with_hint("The limit is pg_secrets.max_value_size in postgresql.conf."),
    }
}

/// The plaintext as a text of Postgres, which is UTF-8 and holds no NUL.
fn into_text(mut plaintext: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>> {
    let refused = || {
        Error::unprocessable("the plaintext is not text in UTF-8").with_hint(
            "What pgp_sym_encrypt_bytea wrote is read by pgcrypto's pgp_sym_decrypt_bytea.",
        )
    };
    if plaintext.contains(&0) {
        return Err(refused());
    }
    String::from_utf8(std::mem::take(&mut *plaintext))
        .map(Zeroizing::new)
        .map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            refused()
        })
}

/// armor: bytes as ASCII armor, with headers if any are given.
pub(crate) fn armor<'s>(
    _session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    caller.require_known()?;
    let data = arguments.bytes(0, "data", longest_message())?;
    let keys = arguments
        .texts(1, "an element of keys")?
        .unwrap_or_default();
    let values = arguments
        .texts(2, "an element of values")?
        .unwrap_or_default();
    if keys.len() != values.len() {
        return Err(Error::bad_input("keys and values must be equally many"));
    }
    let headers: Vec<(String, String)> = keys.into_iter().zip(values).collect();
    pg_secrets_openpgp::armor(&data, &headers)
        .map(|text| Answer::Text(Zeroizing::new(text)))
        .map_err(|error| bad_armor(&error))
}

/// dearmor: the bytes that stand in ASCII armor.
pub(crate) fn dearmor<'s>(
    _session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    caller.require_known()?;
    let text = arguments.secret(0, "data", longest_message())?;
    pg_secrets_openpgp::dearmor(&text)
        .map(Answer::Bytes)
        .map_err(|error| bad_armor(&error))
}

fn bad_armor(error: &ArmorError) -> Error {
    Error::bad_input(error.to_string())
}
