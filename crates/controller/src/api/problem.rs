//! Problem details (RFC 9457): the one form of errors.

use crate::engine::{FieldError, Refusal, RefusalKind};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the media type of a problem is.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Which kind of problem: `urn:mizar:problem:` and one word.
    pub r#type: Box<str>,
    /// The same for people.
    pub title: Box<str>,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, and what would be right.
    pub detail: String,
    /// Which request: `urn:mizar:request:` and its id, which is in the controller's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The fields that are wrong, where it is about fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Detail>,
}

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// Of which resource, as in `endpoint blue/web-1`; none where that is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Path of the field, as in `spec.v4`.
    pub field: String,
    /// Its value, what is wrong with it, and what would be right.
    pub problem: String,
    /// Position of the manifest or change in the request, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<usize>,
}

/// Makes the closed list of problems.
macro_rules! kinds {
    ($($(#[$meta:meta])* $name:ident: $status:ident, $word:literal, $title:literal;)*) => {
        /// A kind of problems.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProblemKind { $($(#[$meta])* $name),* }

        impl ProblemKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in the problem's type.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// What it is in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }

            /// Its HTTP status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),* }
            }
        }
    };
}

kinds! {
    /// The body is no JSON, or the path or query is malformed.
    Malformed: BAD_REQUEST, "malformed", "The request is malformed";
    /// Whoever asks may not.
    Forbidden: FORBIDDEN, "forbidden", "This is not for you";
    /// There is no such resource.
    NotFound: NOT_FOUND, "not-found", "There is no such resource";
    /// There is no such path.
    Path: NOT_FOUND, "path", "There is no such path";
    /// There is no such method at the path.
    Method: METHOD_NOT_ALLOWED, "method", "This cannot be done here";
    /// The answer took too long.
    Timeout: GATEWAY_TIMEOUT, "timeout", "The request took too long";
    /// There is such a resource already.
    Exists: CONFLICT, "exists", "There is such a resource already";
    /// The resource was written since it was read.
    Conflict: CONFLICT, "conflict", "The resource was written since it was read";
    /// Others use the resource.
    InUse: CONFLICT, "in-use", "Others use the resource";
    /// The events from there on are forgotten.
    Gone: GONE, "gone", "The events from there on are forgotten";
    /// `If-Match` does not hold.
    Precondition: PRECONDITION_FAILED, "precondition", "The resource was written since it was read";
    /// The body is too large.
    TooLarge: PAYLOAD_TOO_LARGE, "too-large", "The request is too large";
    /// The body is in another format.
    ContentType: UNSUPPORTED_MEDIA_TYPE, "content-type", "The body is in another format";
    /// A field is wrong.
    Invalid: UNPROCESSABLE_ENTITY, "invalid", "A field is wrong";
    /// The peer asks too much at once.
    Limit: TOO_MANY_REQUESTS, "limit", "Too much is asked at once";
    /// The controller cannot work.
    Unavailable: SERVICE_UNAVAILABLE, "unavailable", "The controller cannot do this at the moment";
}

impl Problem {
    /// What types of problems begin with.
    pub const TYPES: &'static str = "urn:mizar:problem:";
    /// What instances of problems begin with.
    pub const INSTANCES: &'static str = "urn:mizar:request:";

    /// A problem that is not about fields.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("{}{}", Self::TYPES, kind.word()).into(),
            title: kind.title().into(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            instance: None,
            errors: Vec::new(),
        }
    }

    /// A field that is wrong.
    pub fn of_field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        let (field, problem) = (field.into(), problem.into());
        let mut it = Self::new(ProblemKind::Invalid, format!("{field}: {problem}"));
        it.errors = vec![Detail { object: None, field, problem, change: None }];
        it
    }

    /// Its kind, if it is one that this build knows.
    pub fn kind(&self) -> Option<ProblemKind> {
        let word = self.r#type.strip_prefix(Self::TYPES)?;
        ProblemKind::ALL.iter().copied().find(|kind| kind.word() == word)
    }

    /// The same about the manifest or change at that position, in a list of that name.
    #[must_use]
    pub(super) fn in_change(mut self, list: &str, index: usize) -> Self {
        self.detail = format!("{list}[{index}]: {}", self.detail);
        for error in &mut self.errors {
            error.change = Some(index);
        }
        self
    }

    /// The same, of a resource that is known.
    #[must_use]
    pub(super) fn of_object(mut self, object: &str) -> Self {
        for error in &mut self.errors {
            error.object.get_or_insert_with(|| object.to_owned());
        }
        self
    }

    /// As an answer.
    pub(super) fn answer(&self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut answer = Response::new(Body::from(json));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if matches!(self.kind(), Some(ProblemKind::Limit | ProblemKind::Unavailable)) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

impl IntoResponse for Problem {
    /// The problem itself goes with the answer, for [`super::admit`] to say which request it was.
    fn into_response(self) -> Response {
        let mut answer = self.answer();
        answer.extensions_mut().insert(self);
        answer
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.kind {
            RefusalKind::Invalid => ProblemKind::Invalid,
            RefusalKind::NotFound => ProblemKind::NotFound,
            RefusalKind::Exists => ProblemKind::Exists,
            RefusalKind::Conflict => ProblemKind::Conflict,
            RefusalKind::InUse => ProblemKind::InUse,
            RefusalKind::Forbidden => ProblemKind::Forbidden,
            RefusalKind::Gone => ProblemKind::Gone,
            RefusalKind::Unavailable => ProblemKind::Unavailable,
        };
        let mut problem = Self::new(kind, refusal.detail);
        problem.errors = refusal.fields.into_iter().map(Detail::from).collect();
        problem
    }
}

impl From<FieldError> for Detail {
    fn from(error: FieldError) -> Self {
        let FieldError { change, reference, field, problem } = error;
        Self { object: Some(reference.to_string()), field, problem, change: Some(change) }
    }
}

impl fmt::Display for Problem {
    /// The detail, and what it does not say of the fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        for error in self.errors.iter().filter(|error| !self.detail.contains(&error.problem)) {
            f.write_str("\n  ")?;
            if let Some(object) = &error.object {
                write!(f, "{object}: ")?;
            }
            write!(f, "{}: {}", error.field, error.problem)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
