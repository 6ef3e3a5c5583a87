//! Credentials that are about to expire, told once a day.

use super::config;
use crate::output;
use mizar_identity::{Certificate, Credentials, Identity, clock};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Warns on standard error if the certificate is in the last fifth of its life, once a day.
pub(super) fn warn(credentials: &Credentials) {
    let (certificate, now) = (credentials.certificate(), SystemTime::now());
    let Some(warning) = warning(&certificate, now) else { return };
    if !was_told(&certificate, now) {
        output::progress(&format!("warning: {} {warning}", credentials.path().display()));
    }
}

fn warning(certificate: &Certificate, now: SystemTime) -> Option<String> {
    let (start, end) = (certificate.not_before(), certificate.not_after());
    let life = end.duration_since(start).ok()?;
    // One that has expired is refused, which says more than a warning.
    let left = end.duration_since(now).ok().filter(|left| *left < life / 5)?;
    let who = certificate.identity();
    let what = match who {
        Identity::Operator(_) => "renew it with `mizar pki renew`".to_owned(),
        Identity::Host(_) => "its agent renews it, if it runs".to_owned(),
        _ => format!("ask an operator for a new one, by `mizar pki issue {who} --pki FOLDER …`"),
    };
    let hours = left.as_secs() / 3600;
    let left = if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) };
    Some(format!("expires in {left}, at {}: {what}", clock::text(end)))
}

/// Whether it was told within a day; if not, that it is being told is remembered. Where nothing can
/// be remembered, it is told each time.
fn was_told(certificate: &Certificate, now: SystemTime) -> bool {
    let Some(path) = memory(certificate) else { return false };
    let told = fs::metadata(&path).and_then(|found| found.modified()).ok();
    let age = told.and_then(|told| now.duration_since(told).ok());
    if age.is_some_and(|age| age < DAY) {
        return true;
    }
    let _ = fs::create_dir_all(path.parent().unwrap_or(&path));
    let _ = fs::write(&path, "");
    false
}

/// An empty file beside the config file, one for each certificate.
fn memory(certificate: &Certificate) -> Option<PathBuf> {
    let folder = config::path()?.parent()?.to_owned();
    let short: String =
        certificate.fingerprint().to_string().chars().skip("sha256:".len()).take(16).collect();
    Some(folder.join(format!(".expiry-told-{short}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mizar_identity::pki::{Authority, Constraints, Subject};

    #[test]
    fn a_warning_comes_in_the_last_fifth_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = Authority::init(folder.path(), &Constraints::default(), 1000 * DAY, now).unwrap();
        let issue = |who: &str| {
            let subject = Subject::new(who.parse().unwrap());
            ca.issue(&subject, 90 * DAY, now).unwrap().certificate
        };
        let alice = issue("operator/alice");
        assert_eq!(warning(&alice, now + 70 * DAY), None);
        let text = warning(&alice, now + 80 * DAY).unwrap();
        assert!(text.contains("in 9 days") || text.contains("in 10 days"), "{text}");
        assert!(text.contains("mizar pki renew"), "{text}");
        assert_eq!(warning(&alice, now + 91 * DAY), None);
        let bob = warning(&issue("tenant/acme/bob"), now + 89 * DAY).unwrap();
        assert!(bob.contains("mizar pki issue tenant/acme/bob"), "{bob}");
    }
}
