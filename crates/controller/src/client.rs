//! Asking a controller over its REST API.

use crate::api::body::{
    ApplyBody, BatchBody, ChangeBody, EventBody, ListBody, LookBody, LookedBody, WrittenBody,
};
use crate::api::path_of;
use crate::api::problem::{Problem, ProblemKind};
use crate::engine::{Filter, List, Watch};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::Error as HttpError;
use hyper_util::rt::TokioExecutor;
use mizar_identity::connect::ConnectError;
use mizar_identity::{Address, Connector};
use mizar_store::{Backup, BackupFile, StoreError};
use mizar_vpc::{Manifest, Name, Ref};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use thiserror::Error;

/// How long an answer may take: a little longer than the controller gives itself.
const PATIENCE: Duration = Duration::from_secs(35);
/// How long a watch may be silent: a few bookmarks.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest answer, and longest line of a watch.
const LONGEST: usize = 64 << 20;

/// Asks one controller. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http<Connector, Full<Bytes>>,
    connector: Connector,
}

/// Why there is no answer, or which one it is.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke.
    #[error("the controller at {address} does not answer")]
    Broken {
        /// Where.
        address: Address,
        /// Why.
        source: HttpError,
    },
    /// Nothing came for too long.
    #[error("the controller at {address} does not answer within {seconds} s")]
    Silence {
        /// Where.
        address: Address,
        /// How long.
        seconds: u64,
    },
    /// The answer ended too early, or is too long.
    #[error("the answer of the controller at {address} cannot be read: {reason}")]
    Body {
        /// Where.
        address: Address,
        /// Why.
        reason: String,
    },
    /// The answer is none of this API: something else listens there.
    #[error("the answer of {address} is not that of a controller ({status}): check the address")]
    Foreign {
        /// Where.
        address: Address,
        /// Its status.
        status: StatusCode,
    },
    /// The answer is none that this build can read.
    #[error("the answer of the controller at {address} is malformed: it may be of another version")]
    Malformed {
        /// Where.
        address: Address,
        /// Why.
        source: serde_json::Error,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] StoreError),
    /// The controller refuses.
    #[error("{0}")]
    Problem(Box<Problem>),
}

/// Changes as they come.
#[derive(Debug)]
pub struct Watching {
    body: Incoming,
    buffer: Vec<u8>,
    /// Up to where there is no line end.
    searched: usize,
    address: Address,
}

impl Client {
    /// Asks whatever the connector dials.
    pub fn new(connector: Connector) -> Self {
        let http = Http::builder(TokioExecutor::new()).build(connector.clone());
        Self { http, connector }
    }

    /// Where the controller is.
    pub fn address(&self) -> Address {
        self.connector.address()
    }

    /// One resource.
    ///
    /// # Errors
    /// There is none, or no answer.
    pub async fn get(&self, reference: &Ref) -> Result<Manifest, ClientError> {
        self.ask(Method::GET, &path_of(reference), None::<&()>).await
    }

    /// Makes a resource what a manifest says; as it then stands. With a version in it, only if
    /// nobody has written the resource since.
    ///
    /// # Errors
    /// As [`Client::apply`].
    pub async fn put(&self, manifest: &Manifest) -> Result<Manifest, ClientError> {
        self.ask(Method::PUT, &path_of(&manifest.reference()), Some(manifest)).await
    }

    /// A page of resources.
    ///
    /// # Errors
    /// The controller refuses, or there is no answer.
    pub async fn list(&self, list: &List) -> Result<ListBody, ClientError> {
        let mut query = query_of(&list.filter);
        query.append_pair("limit", &list.limit.to_string());
        if let Some(after) = &list.after {
            query.append_pair("after", after);
        }
        let path = format!("{}?{}", list_path(&list.filter), query.finish());
        self.ask(Method::GET, &path, None::<&()>).await
    }

    /// Manifests are applied together.
    ///
    /// # Errors
    /// The controller refuses one, and so all of them; or there is no answer, and they may have
    /// been applied or not.
    pub async fn apply(
        &self,
        manifests: Vec<Manifest>,
        dry_run: bool,
    ) -> Result<WrittenBody, ClientError> {
        let path = format!("/v1/apply?dryRun={dry_run}");
        self.ask(Method::POST, &path, Some(&ApplyBody { manifests })).await
    }

    /// Changes are made together.
    ///
    /// # Errors
    /// As [`Client::apply`].
    pub async fn batch(
        &self,
        changes: Vec<ChangeBody>,
        dry_run: bool,
    ) -> Result<WrittenBody, ClientError> {
        let path = format!("/v1/batch?dryRun={dry_run}");
        self.ask(Method::POST, &path, Some(&BatchBody { changes })).await
    }

    /// Changes as they come.
    ///
    /// # Errors
    /// The controller refuses, or there is no answer.
    pub async fn watch(&self, watch: &Watch) -> Result<Watching, ClientError> {
        let mut query = query_of(&watch.filter);
        query.append_pair("watch", "true");
        if let Some(from) = watch.from {
            query.append_pair("from", &from.to_string());
        }
        let path = format!("{}?{}", list_path(&watch.filter), query.finish());
        let answer = self.send(Method::GET, &path, None::<&()>).await?;
        let address = self.address();
        Ok(Watching { body: answer.into_body(), buffer: Vec::new(), searched: 0, address })
    }

    /// What is in the store, written to a file, which has its name then.
    ///
    /// # Errors
    /// The controller refuses, or what it says ends too early; the file cannot be written.
    pub async fn backup(&self, mut to: BackupFile) -> Result<Backup, ClientError> {
        let mut body = self.send(Method::GET, "/v1/backup", None::<&()>).await?.into_body();
        while let Some(frame) = self.within(body.frame()).await? {
            let frame = frame.map_err(|error| {
                let reason = error.to_string();
                ClientError::Body { address: self.address(), reason }
            })?;
            to.write(&frame.into_data().unwrap_or_default())?;
        }
        Ok(to.keep()?)
    }

    /// Which rows of hosts decide what becomes of packets in a VPC.
    ///
    /// # Errors
    /// As [`Client::apply`].
    pub async fn look(&self, vpc: &Name, body: &LookBody) -> Result<LookedBody, ClientError> {
        self.ask(Method::POST, &format!("/v1/vpcs/{vpc}/look"), Some(body)).await
    }

    /// The answer to a request, if it is none that refuses.
    ///
    /// # Errors
    /// As [`Client::apply`].
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let answer = self.send(method, path, body).await?;
        let bytes = self.within(self.bytes(answer)).await??;
        serde_json::from_slice(&bytes)
            .map_err(|source| ClientError::Malformed { address: self.address(), source })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response<Incoming>, ClientError> {
        let origin = self.address().origin().to_string();
        let uri = format!("{}{path}", origin.trim_end_matches('/'));
        let bytes = body.map(serde_json::to_vec).transpose();
        let bytes = bytes
            .map_err(|source| ClientError::Malformed { address: self.address(), source })?
            .unwrap_or_default();
        let mut request = Request::new(Full::from(bytes));
        *request.method_mut() = method;
        if body.is_some() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        // Paths are made of names and encoded queries.
        *request.uri_mut() = uri.parse().unwrap_or_default();
        let answer = match self.within(self.http.request(request)).await? {
            Ok(answer) => answer,
            Err(error) => return Err(self.broken(error).await),
        };
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let bytes = self.within(self.bytes(answer)).await??;
        Err(match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_) => ClientError::Foreign { address: self.address(), status },
        })
    }

    /// The transport's own error says nothing of why there is no connection: dialling does.
    async fn broken(&self, source: HttpError) -> ClientError {
        match self.connector.dial().await {
            Err(error) if source.is_connect() => error.into(),
            _ => ClientError::Broken { address: self.address(), source },
        }
    }

    async fn bytes(&self, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
        let collected = Limited::new(answer.into_body(), LONGEST).collect().await;
        let collected = collected.map_err(|error| {
            let is_long = error.is::<LengthLimitError>();
            let reason = if is_long { "it is too long".to_owned() } else { error.to_string() };
            ClientError::Body { address: self.address(), reason }
        });
        Ok(collected?.to_bytes())
    }

    async fn within<T>(&self, doing: impl Future<Output = T>) -> Result<T, ClientError> {
        let seconds = PATIENCE.as_secs();
        let done = tokio::time::timeout(PATIENCE, doing).await;
        done.map_err(|_| ClientError::Silence { address: self.address(), seconds })
    }
}

impl ClientError {
    /// The problem, if the controller has answered with one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether there is no such resource.
    pub fn is_not_found(&self) -> bool {
        self.problem().and_then(Problem::kind) == Some(ProblemKind::NotFound)
    }
}

impl Watching {
    /// The next event that is one: bookmarks are passed over. `None`: the watch has ended without
    /// a word, since the controller is gone.
    ///
    /// # Errors
    /// The watch has ended, and the problem says why; or the connection is broken.
    pub async fn next(&mut self) -> Result<Option<EventBody>, ClientError> {
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            let event = serde_json::from_slice(&line).map_err(|source| ClientError::Malformed {
                address: self.address.clone(),
                source,
            })?;
            match event {
                EventBody::Bookmark { .. } => {}
                EventBody::Error { problem } => return Err(ClientError::Problem(problem.into())),
                event => return Ok(Some(event)),
            }
        }
    }

    /// Cancelled and asked again, it goes on where it was.
    async fn line(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            let unsearched = &self.buffer[self.searched..];
            if let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(self.searched + at + 1);
                self.searched = 0;
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            self.searched = self.buffer.len();
            let address = || self.address.clone();
            if self.buffer.len() > LONGEST {
                let reason = "a line is too long".to_owned();
                return Err(ClientError::Body { address: address(), reason });
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            let seconds = SILENCE.as_secs();
            let frame = frame.map_err(|_| ClientError::Silence { address: address(), seconds })?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => self.buffer.extend(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => {
                    let reason = error.to_string();
                    return Err(ClientError::Body { address: address(), reason });
                }
            }
        }
    }
}

fn list_path(filter: &Filter) -> String {
    let plural = filter.kind.plural();
    match &filter.vpc {
        Some(vpc) => format!("/v1/vpcs/{vpc}/{plural}"),
        None => format!("/v1/{plural}"),
    }
}

fn query_of(filter: &Filter) -> form_urlencoded::Serializer<'static, String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let Filter { kind: _, vpc: _, selector, host, network, phase } = filter;
    let names = [("host", host), ("network", network)];
    for (name, value) in names.into_iter().filter_map(|(name, it)| Some((name, it.as_ref()?))) {
        query.append_pair(name, value.as_str());
    }
    if !selector.is_empty() {
        query.append_pair("selector", &selector.to_string());
    }
    if let Some(phase) = phase {
        query.append_pair("phase", phase.as_str());
    }
    query
}
