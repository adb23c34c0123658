//! Webhook signatures by the Standard Webhooks scheme (specification 1.0.0, "Signature scheme"):
//! HMAC-SHA256 over `id.timestamp.body`, in base64 behind `v1,`; the secret is written `whsec_`
//! and base64 of its bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What a signing secret starts with.
pub const SECRET_PREFIX: &str = "whsec_";

/// How many random bytes a new secret has; the specification asks for 24 to 64.
const SECRET_BYTES: usize = 32;

/// A new signing secret from the operating system's randomness.
///
/// # Errors
/// Where the operating system gives none.
pub fn new_secret() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut bytes = Zeroizing::new([0_u8; SECRET_BYTES]);
    getrandom::fill(bytes.as_mut_slice())?;
    let encoded = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
    Ok(Zeroizing::new(format!("{SECRET_PREFIX}{}", *encoded)))
}

/// The value of the header `webhook-signature` for one try: `id` is the message's id, which must
/// hold no dot, `timestamp` the time of the try in seconds since 1970, `body` the request's bytes.
///
/// `None` if the secret is not of the form that [`new_secret`] makes, or the id holds a dot.
pub fn sign(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    if id.contains('.') {
        return None;
    }
    let encoded = secret.strip_prefix(SECRET_PREFIX)?;
    let key = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(format!(
        "v1,{}",
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's reference libraries.
    #[test]
    fn the_specifications_own_example_comes_out() {
        let signature = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            signature.as_deref(),
            Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
    }

    #[test]
    fn every_secret_is_new_and_signs() {
        let (one, two) = (new_secret().unwrap(), new_secret().unwrap());
        assert_ne!(one, two);
        assert_ne!(sign(&one, "id", 1, b"body"), sign(&two, "id", 1, b"body"));
        assert_ne!(sign(&one, "id", 1, b"body"), sign(&one, "id", 1, b"bodz"));
    }

    #[test]
    fn an_id_with_a_dot_or_a_foreign_secret_is_not_signed_with() {
        assert_eq!(sign("whsec_AAAA", "a.b", 1, b""), None);
        assert_eq!(sign("AAAA", "a", 1, b""), None);
        assert_eq!(sign("whsec_?", "a", 1, b""), None);
    }
}
