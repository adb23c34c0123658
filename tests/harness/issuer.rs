//! An issuer of JWTs: makes keys, signs by them, well or badly, and publishes the public ones.

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// Keys of one issuer: a shared secret, an RSA key of the kid `rsa`, one for P-256 of the kid `ec`.
pub struct Issuer {
    /// What both sides know.
    pub secret: String,
    rsa: Rsa<Private>,
    ec: EcKey<Private>,
    published: Arc<Mutex<String>>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Issuer")
    }
}

/// The form that JWTs have for bytes.
fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
    }
}

impl Issuer {
    /// One with keys of its own.
    ///
    /// # Panics
    /// Where the machine's OpenSSL makes none; so do all the others.
    #[must_use]
    pub fn new() -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
        Self {
            secret: format!("shared {} secret", uuid::Uuid::new_v4()),
            rsa: Rsa::generate(2048).expect("an RSA key"),
            ec: EcKey::generate(&group).expect("an EC key"),
            published: Arc::default(),
        }
    }

    /// Seconds since 1970, so many from now.
    ///
    /// # Panics
    /// Where the clock stands before 1970.
    #[must_use]
    pub fn time(seconds_from_now: i64) -> i64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock");
        now.as_secs().cast_signed() + seconds_from_now
    }

    /// Valid claims of a subject, for the audience `secrets`.
    #[must_use]
    pub fn claims(subject: &str) -> Value {
        json!({
            "sub": subject,
            "aud": "secrets",
            "iss": "https://issuer.example/",
            "exp": Self::time(600),
            "iat": Self::time(-5),
        })
    }

    /// Header and payload as they are signed, whatever they are.
    #[must_use]
    pub fn unsigned(header: &str, payload: &str) -> String {
        format!("{}.{}", encoded(header), encoded(payload))
    }

    /// A token of any header and payload with an HMAC by SHA-256 under any key.
    #[must_use]
    pub fn mac(header: &str, payload: &str, key: &[u8]) -> String {
        Self::mac_by(MessageDigest::sha256(), header, payload, key)
    }

    /// The same by SHA-512.
    #[must_use]
    pub fn mac_512(header: &str, payload: &str, key: &[u8]) -> String {
        Self::mac_by(MessageDigest::sha512(), header, payload, key)
    }

    fn mac_by(digest: MessageDigest, header: &str, payload: &str, key: &[u8]) -> String {
        let signed = Self::unsigned(header, payload);
        let key = PKey::hmac(key).expect("a key");
        let mut signer = Signer::new(digest, &key).expect("a signer");
        let mac = signer
            .sign_oneshot_to_vec(signed.as_bytes())
            .expect("a MAC");
        format!("{signed}.{}", encoded(mac))
    }

    /// A token of these claims, by the shared secret.
    #[must_use]
    pub fn hs256(&self, claims: &Value) -> String {
        let header = r#"{"alg":"HS256","typ":"JWT"}"#;
        Self::mac(header, &claims.to_string(), self.secret.as_bytes())
    }

    /// A token signed by the RSA key, of any header.
    #[must_use]
    pub fn rs256(&self, header: &Value, claims: &Value) -> String {
        let signed = Self::unsigned(&header.to_string(), &claims.to_string());
        let key = PKey::from_rsa(self.rsa.clone()).expect("a key");
        let mut signer = Signer::new(MessageDigest::sha256(), &key).expect("a signer");
        let signature = signer.sign_oneshot_to_vec(signed.as_bytes());
        format!("{signed}.{}", encoded(signature.expect("a signature")))
    }

    /// A token signed by the EC key, of any header.
    #[must_use]
    pub fn es256(&self, header: &Value, claims: &Value) -> String {
        let (signed, signature) = self.es256_parts(header, claims);
        let half = |number: &openssl::bn::BigNumRef| number.to_vec_padded(32).expect("32 bytes");
        let both = [half(signature.r()), half(signature.s())].concat();
        format!("{signed}.{}", encoded(both))
    }

    /// The same with the signature in DER, which JWTs do not have.
    #[must_use]
    pub fn es256_der(&self, header: &Value, claims: &Value) -> String {
        let (signed, signature) = self.es256_parts(header, claims);
        format!("{signed}.{}", encoded(signature.to_der().expect("DER")))
    }

    fn es256_parts(&self, header: &Value, claims: &Value) -> (String, EcdsaSig) {
        let signed = Self::unsigned(&header.to_string(), &claims.to_string());
        let digest = hash(MessageDigest::sha256(), signed.as_bytes()).expect("a hash");
        let signature = EcdsaSig::sign(&digest, &self.ec).expect("a signature");
        (signed, signature)
    }

    /// Every text of the RSA key that is public, and that somebody could sign with as if it were secret.
    #[must_use]
    pub fn public_texts(&self) -> Vec<Vec<u8>> {
        let key = &self.rsa;
        vec![
            key.public_key_to_pem().expect("PEM"),
            key.public_key_to_pem_pkcs1().expect("PEM"),
            key.public_key_to_der().expect("DER"),
            key.public_key_to_der_pkcs1().expect("DER"),
            key.n().to_vec(),
            encoded(key.n().to_vec()).into_bytes(),
            self.key_set().to_string().into_bytes(),
        ]
    }

    /// The public keys: that of RSA, that of P-256, and what a set may hold besides.
    #[must_use]
    pub fn key_set(&self) -> Value {
        let mut context = BigNumContext::new().expect("a context");
        let (mut x, mut y) = (BigNum::new().expect("x"), BigNum::new().expect("y"));
        self.ec
            .public_key()
            .affine_coordinates(self.ec.group(), &mut x, &mut y, &mut context)
            .expect("coordinates");
        let coordinate = |number: &BigNum| encoded(number.to_vec_padded(32).expect("32 bytes"));
        let (n, e) = (
            encoded(self.rsa.n().to_vec()),
            encoded(self.rsa.e().to_vec()),
        );
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": n, "e": e},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": coordinate(&x), "y": coordinate(&y)},
            {"kty": "RSA", "kid": "for encryption", "use": "enc", "n": n, "e": e},
            {"kty": "RSA", "kid": "for PS256", "alg": "PS256", "n": n, "e": e},
            {"kty": "oct", "kid": "oct", "k": encoded(&self.secret)},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": encoded([7; 32])},
        ]})
    }

    /// Serves what `publish` was last given at the URL that it answers, and at `/moved` a redirection to it.
    ///
    /// # Panics
    /// Where nothing can be served.
    pub async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let published = Arc::clone(&self.published);
        let keys = move || async move {
            published
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        let moved = || async { axum::response::Redirect::temporary("/keys") };
        let routes = Router::new()
            .route("/keys", get(keys))
            .route("/moved", get(moved));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("http://{address}/keys")
    }

    /// Publishes a set of keys.
    pub fn publish(&self, set: &Value) {
        let mut published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *published = set.to_string();
    }
}
