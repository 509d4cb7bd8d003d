//! Tokens, and routes that ask for them, for the benchmarks of who may do what: three kinds of keys,
//! claims as an issuer of many customers writes them, and the same token in the hands of the raw
//! library and of a peer.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::request::Parts;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};
use tidegate_auth::jose::{Algorithm, Key};
use tidegate_auth::settings::{AccessSettings, AuthSettings};
use tidegate_auth::{Access, Auth, Caller, Verdict, Waited, json as strict};
use tidegate_core::{Clock, Request};

/// What goes wrong while a benchmark is set up.
pub type Failed = Box<dyn Error>;

/// The time in which all tokens hold, in seconds since 1970: that of the start, since the peer goes
/// by the clock of the machine.
pub static NOW: LazyLock<u64> = LazyLock::new(|| {
    let since = Clock::System.wall().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
});

/// An issuer's keys.
pub struct Keys {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// New ones.
    ///
    /// # Errors
    /// The library makes none.
    pub fn new() -> Result<Self, Failed> {
        Ok(Self {
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
            ed: Ed25519KeyPair::generate()?,
            rsa: RsaKeyPair::generate(KeySize::Rsa2048)?,
        })
    }

    /// The public key for an algorithm.
    ///
    /// # Errors
    /// There is none.
    pub fn jwk(&self, algorithm: Algorithm) -> Result<Value, Failed> {
        let name = algorithm.name();
        let mut jwk = match algorithm {
            Algorithm::Es256 => {
                let (x, y) = self.ec.public_key().as_ref().split_at_checked(33).ok_or("short")?;
                let x = x.get(1..).ok_or("short")?;
                json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
            }
            Algorithm::EdDsa => {
                let x = encode(self.ed.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
            Algorithm::Rs256 => {
                // RFC 8017 §A.1.1: two integers, the second of three bytes.
                let der = self.rsa.public_key().as_ref();
                let n =
                    der.len().checked_sub(5).and_then(|end| der.get(end.checked_sub(256)?..end));
                json!({ "kty": "RSA", "n": encode(n.ok_or("short")?), "e": "AQAB" })
            }
            _ => return Err("no such key here".into()),
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), name.into());
            members.insert("alg".to_owned(), name.into());
        }
        Ok(jwk)
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// There is no key for the algorithm.
    pub fn token(&self, algorithm: Algorithm, claims: &Value) -> Result<String, Failed> {
        let header = json!({ "typ": "at+jwt", "alg": algorithm.name(), "kid": algorithm.name() });
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match algorithm {
            Algorithm::Es256 => self.ec.sign(&random, signed.as_bytes())?.as_ref().to_vec(),
            Algorithm::EdDsa => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
            Algorithm::Rs256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)?;
                signature
            }
            _ => return Err("no such key here".into()),
        };
        Ok(format!("{signed}.{}", encode(signature)))
    }
}

/// Claims as issuers write them; the number makes them different.
#[must_use]
pub fn claims(number: u64) -> Value {
    let now = *NOW;
    json!({
        "iss": "https://id.example.com/realms/shop",
        "sub": format!("f:6f1b2c1e-6f0e-4c55-9df1-7b0e2a{number:012x}"),
        "aud": ["https://api.example.com", "account"],
        "client_id": "storefront-web",
        "iat": now - 60, "nbf": now - 60, "exp": now + 3_600,
        "jti": format!("0193b1c8-f3a0-7c0e-8a5d-{number:012x}"),
        "scope": "openid profile pay:read pay:write orders:read",
        "realm_access": { "roles": ["clerk", "auditor", "offline_access"] },
        "acr": "mfa", "auth_time": now - 120,
    })
}

/// Base64url without padding.
#[must_use]
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Providers and a route.
#[derive(Debug)]
pub struct Stand {
    /// The providers.
    pub auth: Auth,
    /// The route's demands.
    pub access: Access,
}

impl Stand {
    /// Providers with an issuer `corp`, and a route that asks for this.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(keys: &Keys, cache: &str, access: Value) -> Result<Self, Failed> {
        let published = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256];
        let published: Vec<Value> =
            published.into_iter().map(|own| keys.jwk(own)).collect::<Result<_, _>>()?;
        let inline = json!({ "keys": published }).to_string();
        Self::with(
            json!({ "issuers": { "corp": {
                "issuer": "https://id.example.com/realms/shop",
                "audience": ["https://api.example.com"], "cache": cache,
                "keys": { "inline": inline },
            } } }),
            access,
        )
    }

    /// These providers, and a route that asks for this.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn with(auth: Value, access: Value) -> Result<Self, Failed> {
        let settings: AuthSettings = serde_json::from_value(auth)?;
        let mut errors = Vec::new();
        let auth = Auth::compile(&settings, None, &mut errors);
        if !errors.is_empty() {
            return Err(format!("{errors:?}").into());
        }
        let access: AccessSettings = serde_json::from_value(access)?;
        let access = Access::compile(&access, &auth).map_err(|errors| format!("{errors:?}"))?;
        Ok(Self { auth, access })
    }

    /// Whether a request may pass.
    #[must_use]
    pub fn passes(&self, head: &Parts, request: &Request<'_>) -> bool {
        let request = Request { head, ..*request };
        matches!(self.verdict(&request), Verdict::Permitted(_))
    }

    /// What is decided about a request.
    #[must_use]
    pub fn verdict(&self, request: &Request<'_>) -> Verdict {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(*NOW);
        let caller = Caller { time, certificate: None };
        self.access.check(request, &caller, &Waited::default())
    }
}

/// The head of a request with one field.
///
/// # Errors
/// The value is none.
pub fn head(name: &'static str, value: &str) -> Result<Parts, Failed> {
    let mut request = http::Request::new(());
    request.headers_mut().insert(name, HeaderValue::try_from(value)?);
    Ok(request.into_parts().0)
}

/// The head of a request with a token.
///
/// # Errors
/// The token is no field value.
pub fn bearer(token: &str) -> Result<Parts, Failed> {
    head("authorization", &format!("Bearer {token}"))
}

/// A request of this head.
#[must_use]
pub fn request(head: &Parts) -> Request<'_> {
    Request {
        head,
        host: "api.example.com",
        path: "/payments/7",
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        secure: true,
        received_at: Clock::System.now(),
    }
}

/// The same token for the library alone: the key's bytes, what is signed, the signature. And our
/// own key, for what choosing it and keeping it parsed makes of that.
pub struct Raw {
    public: UnparsedPublicKey<Vec<u8>>,
    own: Key,
    algorithm: Algorithm,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raw").finish_non_exhaustive()
    }
}

impl Raw {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is none of these keys.
    pub fn new(keys: &Keys, algorithm: Algorithm, token: &str) -> Result<Self, Failed> {
        let jwk = strict::object(keys.jwk(algorithm)?.to_string().as_bytes())?;
        let own = Key::from_jwk(&jwk, &[algorithm])?;
        let (how, public): (&'static dyn VerificationAlgorithm, _) = match algorithm {
            Algorithm::Es256 => (&ECDSA_P256_SHA256_FIXED, keys.ec.public_key().as_ref()),
            Algorithm::EdDsa => (&ED25519, keys.ed.public_key().as_ref()),
            _ => (&RSA_PKCS1_2048_8192_SHA256, keys.rsa.public_key().as_ref()),
        };
        let public = UnparsedPublicKey::new(how, public.to_vec());
        let (signed, signature) = token.rsplit_once('.').ok_or("no token")?;
        let signature = URL_SAFE_NO_PAD.decode(signature)?;
        Ok(Self { public, own, algorithm, signed: signed.as_bytes().to_vec(), signature })
    }

    /// One call of the library, and nothing else.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.public.verify(&self.signed, &self.signature).is_ok()
    }

    /// The same by our own key.
    #[must_use]
    pub fn verifies_with_own_key(&self) -> bool {
        self.own.verifies(self.algorithm, &self.signed, &self.signature)
    }
}

/// The same token for the kept library of Rust, over the same cryptography.
pub struct Peer {
    key: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}

impl Peer {
    /// A key for an algorithm, and issuer and audience to look at.
    ///
    /// # Errors
    /// There is no such key.
    pub fn new(keys: &Keys, algorithm: Algorithm) -> Result<Self, Failed> {
        let jwk = keys.jwk(algorithm)?;
        let part = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
        let (key, named) = match algorithm {
            Algorithm::Es256 => {
                let key = DecodingKey::from_ec_components(part("x"), part("y"))?;
                (key, jsonwebtoken::Algorithm::ES256)
            }
            Algorithm::EdDsa => {
                let key = DecodingKey::from_ed_components(part("x"))?;
                (key, jsonwebtoken::Algorithm::EdDSA)
            }
            _ => {
                let key = DecodingKey::from_rsa_components(part("n"), part("e"))?;
                (key, jsonwebtoken::Algorithm::RS256)
            }
        };
        let mut validation = Validation::new(named);
        validation.set_audience(&["https://api.example.com"]);
        validation.set_issuer(&["https://id.example.com/realms/shop"]);
        validation.validate_nbf = true;
        Ok(Self { key, validation })
    }

    /// Reads a token, all its claims, and checks it.
    #[must_use]
    pub fn passes(&self, token: &str) -> bool {
        jsonwebtoken::decode::<Value>(token, &self.key, &self.validation).is_ok()
    }
}
