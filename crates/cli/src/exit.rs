//! How the program ends.

use mizar_controller::RestoreError;
use mizar_controller::api::problem::ProblemKind;
use mizar_controller::client::ClientError;
use mizar_store::StoreError;
use std::fmt;
use std::process::ExitCode;

/// What the exit statuses mean, for `--help`.
pub(crate) const HELP: &str = "\
Exit status:
  0  it worked
  1  it did not; for `diff`: something differs
  2  the command line is wrong; for `diff` also: it did not work
  3  there is no such resource
  4  a conflict: it exists already, was changed since it was read, or is in use
  5  this identity may not do that
  6  it took too long";

/// An exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It did not work.
    Failed = 1,
    /// The command line is wrong. For `diff`, whose 1 means something else, also: it did not work.
    Usage = 2,
    /// There is no such resource.
    NotFound = 3,
    /// It exists already, was changed since it was read, or is in use.
    Conflict = 4,
    /// This identity may not.
    Forbidden = 5,
    /// It took too long.
    TimedOut = 6,
}

/// An error that says how the program ends.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
}

impl Status {
    /// An error that ends the program like this.
    pub(crate) fn error(self, message: impl Into<String>) -> anyhow::Error {
        Failure { status: self, message: message.into() }.into()
    }

    /// How the program ends with an error.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(of_cause).unwrap_or(Self::Failed)
    }
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Status> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.status);
    }
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return of_store(error);
    }
    match cause.downcast_ref() {
        Some(RestoreError::Exists { .. }) => return Some(Status::Conflict),
        Some(RestoreError::Store(error)) => return of_store(error),
        Some(RestoreError::Folder { .. }) | None => {}
    }
    match cause.downcast_ref::<ClientError>()? {
        ClientError::Silence { .. } => Some(Status::TimedOut),
        ClientError::File(error) => of_store(error),
        error => Some(match error.problem()?.kind()? {
            ProblemKind::NotFound => Status::NotFound,
            ProblemKind::Exists
            | ProblemKind::Conflict
            | ProblemKind::InUse
            | ProblemKind::Precondition => Status::Conflict,
            ProblemKind::Forbidden => Status::Forbidden,
            ProblemKind::Timeout => Status::TimedOut,
            ProblemKind::Malformed
            | ProblemKind::Path
            | ProblemKind::Method
            | ProblemKind::Gone
            | ProblemKind::TooLarge
            | ProblemKind::ContentType
            | ProblemKind::Invalid
            | ProblemKind::Limit
            | ProblemKind::Unavailable => Status::Failed,
        }),
    }
}

fn of_store(error: &StoreError) -> Option<Status> {
    let is_taken = matches!(error, StoreError::Exists { .. } | StoreError::InUse { .. });
    is_taken.then_some(Status::Conflict)
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use mizar_controller::api::problem::Problem;

    #[test]
    fn the_status_is_found_behind_any_context() {
        for (kind, status) in [
            (ProblemKind::NotFound, Status::NotFound),
            (ProblemKind::Precondition, Status::Conflict),
            (ProblemKind::InUse, Status::Conflict),
            (ProblemKind::Forbidden, Status::Forbidden),
            (ProblemKind::Invalid, Status::Failed),
        ] {
            let problem = ClientError::Problem(Box::new(Problem::new(kind, "no")));
            let error = Err::<(), _>(problem).context("a").context("b").unwrap_err();
            assert_eq!(Status::of(&error), status);
        }
        assert_eq!(Status::of(&Status::TimedOut.error("late").context("c")), Status::TimedOut);
        assert_eq!(Status::of(&anyhow::anyhow!("other")), Status::Failed);
    }
}
