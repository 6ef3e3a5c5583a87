//! Certificates renew by themselves.

use crate::certificate::Certificate;
use crate::clock;
use crate::credentials::{Credentials, CredentialsError};
use crate::errors::chain;
use crate::pki::{PkiError, Request};
use crate::trust::Trust;
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thiserror::Error;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The wall clock is looked at this often: it may be set, and a machine may sleep. So is the file:
/// whoever was revoked has joined anew.
const LOOK: Duration = Duration::from_secs(10);
/// Never more often than this, whatever a certificate's dates say.
const PACE: Duration = Duration::from_secs(10);
/// How long a signer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps credentials fresh, for as long as it runs.
pub struct Renewer {
    credentials: Arc<Credentials>,
    trust: Trust,
    clock: Clock,
}

/// What says what time it is.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Why credentials could not be renewed.
#[derive(Debug, Error)]
pub enum RenewError {
    /// The signer has refused, or could not be reached.
    #[error("nobody has signed the request: {0}")]
    Signer(String),
    /// The signer did not answer.
    #[error("nobody has signed the request within {PATIENCE:?}")]
    Silence,
    /// What came back is not what was asked for.
    #[error("what came back is refused")]
    Answer(#[from] PkiError),
    /// The file.
    #[error("the new certificate cannot be kept")]
    Keep(#[from] CredentialsError),
    /// The task that did it has come to nothing.
    #[error("the renewal was interrupted")]
    Interrupted,
}

/// When a certificate is to be renewed: after two thirds of its life, and up to a tenth of it
/// later, so that what was made at one time is not renewed at one time.
pub fn renew_at(certificate: &Certificate, random: u64) -> SystemTime {
    let (start, end) = (certificate.issued(), certificate.not_after());
    let life = end.duration_since(start).unwrap_or_default();
    start + life * 2 / 3 + (life / 10).mul_f64(fraction(random))
}

impl Renewer {
    /// Keeps these credentials, believing only what these CAs sign.
    pub fn new(credentials: Arc<Credentials>, trust: Trust) -> Self {
        Self { credentials, trust, clock: Arc::new(SystemTime::now) }
    }

    /// With another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Renews whenever it is time. `sign` takes a request in PEM to whoever signs it, and comes
    /// back with the chain in PEM. What fails is tried again, and told to the log.
    pub async fn run<S, F, E>(self, mut sign: S) -> Infallible
    where
        S: FnMut(String) -> F,
        F: Future<Output = Result<String, E>>,
        E: fmt::Display,
    {
        let mut pause = FIRST_PAUSE;
        let mut due = self.due();
        loop {
            let left = due.duration_since((self.clock)()).unwrap_or_default();
            if !left.is_zero() {
                tokio::time::sleep(left.min(LOOK)).await;
            }
            if self.replaced_by_somebody() {
                due = self.due();
            }
            if due > (self.clock)() {
                continue;
            }
            match self.once(&mut sign).await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    due = self.due();
                    tokio::time::sleep(PACE).await;
                }
                Err(error) => {
                    self.complain(&error, pause);
                    tokio::time::sleep(jittered(pause, random())).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Renews, whether or not it is time.
    ///
    /// # Errors
    /// No signer, an answer that is not what was asked for, or a file that cannot be written. What
    /// was in use stays in use then.
    pub async fn once<S, F, E>(&self, sign: &mut S) -> Result<(), RenewError>
    where
        S: FnMut(String) -> F,
        F: Future<Output = Result<String, E>>,
        E: fmt::Display,
    {
        let request = Request::new()?;
        let answer = tokio::time::timeout(PATIENCE, sign(request.pem().to_owned())).await;
        let answer = answer.map_err(|_| RenewError::Silence)?;
        let chain = answer.map_err(|error| RenewError::Signer(error.to_string()))?;
        let (credentials, trust, now) =
            (self.credentials.clone(), self.trust.clone(), (self.clock)());
        // Writing waits for the disk.
        let kept = tokio::task::spawn_blocking(move || {
            let who = credentials.certificate().identity().clone();
            let issued = request.accept(&chain, &who, &trust, now)?;
            Ok(credentials.replace(&issued)?)
        });
        kept.await.unwrap_or(Err(RenewError::Interrupted))?;
        let certificate = self.credentials.certificate();
        let until = clock::text(certificate.not_after());
        tracing::info!(who = %certificate.identity(), until, "certificate renewed");
        Ok(())
    }

    fn due(&self) -> SystemTime {
        renew_at(&self.credentials.certificate(), random())
    }

    fn replaced_by_somebody(&self) -> bool {
        self.credentials.reload().is_ok_and(|differs| differs)
    }

    fn complain(&self, error: &RenewError, pause: Duration) {
        let file = self.credentials.path().display();
        let reason = chain(error);
        match self.credentials.check((self.clock)()) {
            Ok(()) => {
                let until = clock::text(self.credentials.certificate().not_after());
                tracing::warn!(%file, until, reason, again_in = ?pause, "certificate not renewed");
            }
            Err(expired) => {
                let expired = chain(&expired);
                tracing::error!(%file, reason, again_in = ?pause, "not renewed in time: {expired}");
            }
        }
    }
}

impl fmt::Debug for Renewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewer").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

fn jittered(pause: Duration, random: u64) -> Duration {
    pause / 2 + pause.mul_f64(fraction(random))
}

/// From 0 to 1, excluding 1.
fn fraction(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
