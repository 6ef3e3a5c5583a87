//! What a host brings to get its first certificate.
//!
//! A token tells the host where the controller is, which CA's controllers it may believe, and a
//! secret to tell it. The controller keeps a [`TokenRecord`], from which nobody can make the token.

use crate::address::Address;
use crate::clock;
use crate::fingerprint::Fingerprint;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mizar_vpc::Name;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use zeroize::Zeroizing;

mod pattern;

pub use pattern::{HostPattern, HostPatternError};

/// A join token. As text: `mizar1.` and base64url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Where to join.
    pub controller: Address,
    /// Whose controllers to believe.
    pub authority: Fingerprint,
    /// Which record the controller has of it.
    pub id: Name,
    /// What proves to have it.
    pub secret: Secret,
    /// Who may join with it.
    pub host: HostPattern,
    /// Until when, in seconds since 1970.
    pub expires: u64,
}

/// 32 random bytes that only the holder of a token knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

/// What a controller keeps of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Which token.
    pub id: Name,
    /// The SHA-256 of its secret. The secret is random, so this tells nothing of it.
    pub secret: Fingerprint,
    /// Who may join with it.
    pub host: HostPattern,
    /// Until when, in seconds since 1970.
    pub expires: u64,
    /// How many hosts may still join.
    pub uses_left: u32,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Not the token's secret. Says nothing of the token, about which a stranger may be guessing.
    #[error("the secret is not that of this token: copy the whole token again")]
    Secret,
    /// For others.
    #[error("host {host} may not join with this token: it is for {pattern}")]
    Host {
        /// Who wanted to join.
        host: Name,
        /// Who may.
        pattern: HostPattern,
    },
    /// Too late.
    #[error("the token expired at {}: ask for a new one", clock::text(*.0))]
    Expired(SystemTime),
    /// As many as may have joined with it.
    #[error("the token has been used as often as it may be: ask for a new one")]
    UsedUp,
}

/// Why a text is no token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Not a token of this version.
    #[error("the token does not begin with {prefix}: it must be the whole of what was printed",
        prefix = Token::PREFIX)]
    Prefix,
    /// Shortened, lengthened or altered.
    #[error("the token is damaged: it must be the whole of what was printed, without line breaks")]
    Damaged,
    /// Intact, but not what a token says.
    #[error("the token is malformed: {0}")]
    Content(String),
    /// A host that joins comes from elsewhere.
    #[error("the token's controller is {0}: it must be https://HOST:PORT")]
    Controller(Address),
    /// No randomness.
    #[error("no random bytes are to be had")]
    Random,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    controller: Address,
    authority: Fingerprint,
    id: Name,
    secret: String,
    host: HostPattern,
    expires: u64,
}

impl Token {
    /// What every token begins with: the version is a part of it.
    pub const PREFIX: &'static str = "mizar1.";
    const LONGEST: usize = 4096;
    const CHECKSUM: usize = 4;

    /// Makes a token, and what the controller is to keep of it.
    ///
    /// # Errors
    /// The controller's address is a local socket's, or no randomness is to be had.
    pub fn new(
        controller: Address,
        authority: Fingerprint,
        host: HostPattern,
        uses: u32,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<(Self, TokenRecord), TokenError> {
        if matches!(controller, Address::Unix(_)) {
            return Err(TokenError::Controller(controller));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        let mut number = [0; 8];
        getrandom::fill(bytes.as_mut()).map_err(|_| TokenError::Random)?;
        getrandom::fill(&mut number).map_err(|_| TokenError::Random)?;
        let id = format!("{:016x}", u64::from_be_bytes(number));
        let id: Name = id.try_into().map_err(|_| TokenError::Random)?;
        let secret = Secret(bytes);
        let expires = clock::unix(now).saturating_add(lifetime).as_secs();
        let record = TokenRecord {
            id: id.clone(),
            secret: secret.hash(),
            host: host.clone(),
            expires,
            uses_left: uses,
        };
        Ok((Self { controller, authority, id, secret, host, expires }, record))
    }

    /// The whole token, secret included: for the one who joins.
    pub fn reveal(&self) -> Zeroizing<String> {
        let content = Content {
            controller: self.controller.clone(),
            authority: self.authority,
            id: self.id.clone(),
            secret: self.secret.reveal().to_string(),
            host: self.host.clone(),
            expires: self.expires,
        };
        // Serialising strings and numbers cannot fail.
        let json = Zeroizing::new(serde_json::to_vec(&content).unwrap_or_default());
        let mut bytes = Zeroizing::new(checksum(&json).to_vec());
        bytes.extend_from_slice(&json);
        Zeroizing::new(format!("{}{}", Self::PREFIX, URL_SAFE_NO_PAD.encode(&*bytes)))
    }

    /// What a host can know before it asks.
    ///
    /// # Errors
    /// The token is expired, or for others.
    pub fn check(&self, host: &Name, now: SystemTime) -> Result<(), Refusal> {
        check_host_and_time(&self.host, self.expires, host, now)
    }
}

impl Secret {
    const LENGTH: usize = 43;

    /// As text, to be sent to the controller.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.0))
    }

    fn hash(&self) -> Fingerprint {
        Fingerprint::of(&*self.0)
    }
}

impl TokenRecord {
    /// Whether a host may join with this secret. What is wrong with the token is told only to who
    /// knows its secret.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, secret: &Secret, host: &Name, now: SystemTime) -> Result<(), Refusal> {
        if !self.secret.equals(&secret.hash()) {
            return Err(Refusal::Secret);
        }
        check_host_and_time(&self.host, self.expires, host, now)?;
        if self.uses_left == 0 { Err(Refusal::UsedUp) } else { Ok(()) }
    }

    /// The record after one more host has joined, to be stored in place of this one by compare and
    /// swap, before the host gets its certificate: that is what makes a token good for so many.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn spend(&self, secret: &Secret, host: &Name, now: SystemTime) -> Result<Self, Refusal> {
        self.check(secret, host, now)?;
        Ok(Self { uses_left: self.uses_left - 1, ..self.clone() })
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let body = text.strip_prefix(Self::PREFIX).ok_or(TokenError::Prefix)?;
        if body.len() > Self::LONGEST {
            return Err(TokenError::Damaged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(body).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| TokenError::Damaged)?;
        let (sum, json) = bytes.split_at_checked(Self::CHECKSUM).ok_or(TokenError::Damaged)?;
        if sum != checksum(json) {
            return Err(TokenError::Damaged);
        }
        let content: Content =
            serde_json::from_slice(json).map_err(|error| TokenError::Content(error.to_string()))?;
        if matches!(content.controller, Address::Unix(_)) {
            return Err(TokenError::Controller(content.controller));
        }
        let Content { controller, authority, id, secret, host, expires } = content;
        let secret = Zeroizing::new(secret).parse()?;
        Ok(Self { controller, authority, id, secret, host, expires })
    }
}

impl FromStr for Secret {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let malformed =
            || TokenError::Content("its secret must be 32 bytes in base64url".to_owned());
        if text.len() != Self::LENGTH {
            return Err(malformed());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| malformed())?;
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| malformed())?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn check_host_and_time(
    pattern: &HostPattern,
    expires: u64,
    host: &Name,
    now: SystemTime,
) -> Result<(), Refusal> {
    if !pattern.matches(host) {
        return Err(Refusal::Host { host: host.clone(), pattern: pattern.clone() });
    }
    if clock::unix(now).as_secs() >= expires {
        return Err(Refusal::Expired(clock::from_unix(i64::try_from(expires).unwrap_or(i64::MAX))));
    }
    Ok(())
}

/// Against slips in copying only.
fn checksum(bytes: &[u8]) -> [u8; Token::CHECKSUM] {
    let mut sum = [0; Token::CHECKSUM];
    sum.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..Token::CHECKSUM]);
    sum
}

#[cfg(test)]
mod tests;
