//! What the tests of this crate share.

use crate::layout::Layout;

/// Whether the test may create namespaces; says so if not.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    let root = std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
    if !root {
        println!("SKIPPED: needs root");
    }
    root
}

/// Removes a lab's namespaces and folder when the test ends, also when it fails.
pub(crate) struct Cleanup(Layout);

impl Cleanup {
    pub(crate) fn of(layout: &Layout) -> Self {
        Self(layout.clone())
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        for namespace in self.0.namespaces().unwrap_or_default() {
            let _ = namespace.remove();
        }
        let _ = std::fs::remove_dir_all(self.0.state());
    }
}
