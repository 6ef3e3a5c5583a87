//! What was checked, and how it went.

use crate::output;
use anyhow::Result;
use std::time::{Duration, Instant};

/// The checks so far.
#[derive(Debug, Default)]
pub(super) struct Checks {
    passed: usize,
    failed: Vec<String>,
}

impl Checks {
    /// Runs a check and shows how it went. What it found is a few words, or an error.
    pub(super) async fn run(
        &mut self,
        name: &str,
        check: impl Future<Output = Result<String>>,
    ) -> Result<()> {
        let check = async { Ok(((), check.await?)) };
        self.run_for(name, check).await.map(drop)
    }

    /// Runs a check that also makes something; None if it failed.
    pub(super) async fn run_for<T>(
        &mut self,
        name: &str,
        check: impl Future<Output = Result<(T, String)>>,
    ) -> Result<Option<T>> {
        let started = Instant::now();
        let result = check.await;
        let took = started.elapsed().as_secs_f64();
        let (mark, said) = match &result {
            Ok((_, found)) => ("✓", found.clone()),
            Err(error) => ("✗", format!("{error:#}")),
        };
        output::print(&format!("  {mark} {name} ({took:.1} s)\n      {said}"))?;
        match result {
            Ok((made, _)) => {
                self.passed += 1;
                Ok(Some(made))
            }
            Err(_) => {
                self.failed.push(name.to_owned());
                Ok(None)
            }
        }
    }

    pub(super) fn all_passed(&self) -> bool {
        self.failed.is_empty()
    }

    /// All of it in one line, or what failed.
    pub(super) fn summary(&self, took: Duration) -> String {
        let all = self.passed + self.failed.len();
        let took = took.as_secs_f64();
        if self.all_passed() {
            return format!("\nAll {all} checks passed in {took:.0} s.");
        }
        let failed = self.failed.join("\n  - ");
        format!("\n{} of {all} checks failed in {took:.0} s:\n  - {failed}", self.failed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[tokio::test]
    async fn a_summary_names_what_failed() {
        let mut checks = Checks::default();
        checks.run("works", async { Ok("well".to_owned()) }).await.unwrap();
        assert_eq!(checks.summary(Duration::from_secs(3)), "\nAll 1 checks passed in 3 s.");
        checks.run("breaks", async { bail!("badly") }).await.unwrap();
        assert!(!checks.all_passed());
        let summary = checks.summary(Duration::from_secs(3));
        assert_eq!(summary, "\n1 of 2 checks failed in 3 s:\n  - breaks");
    }
}
