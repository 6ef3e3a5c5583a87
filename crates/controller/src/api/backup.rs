//! The store as a backup, on the controller's own machine only: the secrets of keyed tags are in
//! it.

use super::Api;
use super::admit::Asker;
use super::enrol::{check, object};
use super::limits::{Permit, Use};
use super::problem::{Problem, ProblemKind};
use super::query::{self, Query};
use super::record::{Done, chain};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use mizar_identity::audit::Who;
use mizar_identity::role::{Action, Kind, Verb};
use mizar_store::Backup;
use std::io::{self, Write};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};

/// What a backup's media type is.
pub(super) const MEDIA_TYPE: &str = "application/octet-stream";
/// Backups that are taken at a time: each holds on to the pages that commits replace meanwhile.
const MOST: usize = 1;
/// Bytes that are sent together.
const CHUNK: usize = 64 << 10;
/// Chunks that wait for the network.
const CHUNKS: usize = 4;

/// Answers with one point in time of the store. What is cut off is no backup, so an answer that
/// breaks off does no harm.
pub(super) async fn backup(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::of(&uri, query::NONE)?;
    let who = asker.known()?.clone();
    let is_local = asker.fingerprint.is_none();
    let doing_api = api.clone();
    let objects = vec![object("store", &"store")];
    api.on_record(&asker, Who::Identity(who.clone()), "backup", objects, async move {
        check(&who, &Action::new(Verb::Read, Kind::Store))?;
        if !is_local {
            let detail = "the secrets of keyed tags are in a backup: it is taken on the \
                          controller's machine, by its local socket";
            return Err(Problem::new(ProblemKind::Forbidden, detail));
        }
        let permit = doing_api.usage.admit(Some(&who), Use::Backup, MOST)?;
        Ok(Done { answer: begin(doing_api, permit), revision: None, objects: None })
    })
    .await
}

fn begin(api: Api, permit: Permit) -> Response {
    let (sender, chunks) = mpsc::channel(CHUNKS);
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let (buffer, untaken) = (Vec::with_capacity(2 * CHUNK), api.limits.untaken);
        let mut to = Chunks { sender: sender.clone(), buffer, untaken, runtime: Handle::current() };
        match Backup::write(&**api.engine.store(), &mut to) {
            Ok(Backup { epoch, revision, rows }) => {
                info!(revision = format!("{epoch}.{revision}"), rows, "backup");
            }
            Err(error) => {
                warn!(reason = chain(&error), "a backup was broken off");
                // Whoever takes it knows by this, if he is there. That it ends says it as well.
                let _ = sender.try_send(Err(io::Error::other("the backup was broken off")));
            }
        }
    });
    let mut answer = Response::new(Body::from_stream(ReceiverStream::new(chunks)));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Writes to whoever takes the answer, from a thread that may wait for him.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    untaken: Duration,
    runtime: Handle,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(2 * CHUNK));
        let sending = self.sender.send_timeout(Ok(chunk.into()), self.untaken);
        self.runtime.block_on(sending).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
