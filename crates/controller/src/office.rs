//! Where identities are given out: a CA, and the join tokens that hosts bring to it.
//!
//! A token is spent by compare-and-swap before anything is signed, so that it lets in as many hosts
//! as it was made for, whatever they do at once and wherever the controller stops.

mod revoked;
mod tokens;

pub(crate) use tokens::{Found, SpendError};

use mizar_identity::pki::{Authority, Lifetimes, PkiError, Subject};
use mizar_identity::revocation::{Revocations, seconds};
use mizar_identity::token::{HostPattern, Token, TokenError, TokenRecord};
use mizar_identity::{Address, Identity, Trust};
use mizar_store::{Revision, Store, StoreError};
use mizar_vpc::Name;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokens::Tokens;

/// Gives out identities. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Office(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    authority: Authority,
    address: Address,
    tokens: Tokens,
    store: Arc<dyn Store>,
    revocations: Revocations,
    lifetimes: Lifetimes,
}

/// What a token shall be for.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) host: HostPattern,
    pub(crate) uses: u32,
    pub(crate) lifetime: Duration,
    /// Where the host finds the controller, if it is not where everybody does.
    pub(crate) controller: Option<Address>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there are {0} tokens, and there may be no more: delete some, or wait until they end")]
    TooMany(usize),
}

impl Office {
    /// With a CA, at the address by which hosts find the controller, with its tokens and
    /// revocations in a store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(
        authority: Authority,
        address: Address,
        store: Arc<dyn Store>,
        lifetimes: Lifetimes,
    ) -> Result<Self, StoreError> {
        let revocations = revoked::read(&*store)?;
        let tokens = Tokens::new(Arc::clone(&store));
        Ok(Self(Arc::new(Inner { authority, address, tokens, store, revocations, lifetimes })))
    }

    /// Whose certificates are not believed though they have not expired.
    pub fn revocations(&self) -> Revocations {
        self.0.revocations.clone()
    }

    /// No certificate that somebody has now is believed from now on. Blocks until that is on disk.
    pub(crate) fn disown(&self, who: &Identity) -> Result<(u64, Option<Revision>), StoreError> {
        let until = seconds(SystemTime::now());
        let revision = revoked::write(&self.0.store, who, until)?;
        self.0.revocations.revoke(who.clone(), until);
        Ok((until, revision))
    }

    /// Whose signatures it gives.
    pub fn trust(&self) -> Trust {
        self.0.authority.trust()
    }

    /// Signs a request for somebody who is known: the chain, in PEM.
    ///
    /// # Errors
    /// The request is malformed, or the CA has expired.
    pub fn sign(&self, request: &str, subject: &Subject) -> Result<String, PkiError> {
        let lifetime = self.0.lifetimes.of(subject.identity());
        self.0.authority.sign(request, subject, lifetime, SystemTime::now())
    }

    /// Makes a token. Blocks until its record is on disk.
    pub(crate) fn order(&self, order: Order) -> Result<(Token, TokenRecord, Revision), OrderError> {
        let now = SystemTime::now();
        let Order { host, uses, lifetime, controller } = order;
        let controller = controller.unwrap_or_else(|| self.0.address.clone());
        let ca = self.0.authority.fingerprint();
        let (token, record) = Token::new(controller, ca, host, uses, lifetime, now)?;
        let revision = self.0.tokens.add(&record, now)?;
        Ok((token, record, revision))
    }

    /// The records of all tokens. Blocks.
    pub(crate) fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.0.tokens.all()
    }

    /// The record of one. Blocks.
    pub(crate) fn token(&self, id: &Name) -> Result<Option<Found>, StoreError> {
        self.0.tokens.find(id)
    }

    /// Takes a token away: whether there was one, and the revision since when there is none.
    pub(crate) fn revoke(&self, id: &Name) -> Result<Option<Revision>, StoreError> {
        self.0.tokens.remove(id)
    }

    /// Lets a host in: spends its token, and signs. Blocks.
    pub(crate) fn admit(
        &self,
        join: &mizar_identity::enrol::Join,
        secret: &mizar_identity::token::Secret,
    ) -> Result<(String, Revision), SpendError> {
        let revision = self.0.tokens.spend(&join.token, secret, &join.host, SystemTime::now())?;
        let subject = Subject::new(Identity::Host(join.host.clone()));
        Ok((self.sign(&join.request, &subject)?, revision))
    }

    /// A revision of the store as everybody writes it.
    pub(crate) fn text(&self, revision: Revision) -> String {
        self.0.tokens.text(revision)
    }
}
