//! What every store must do, of this one.

use crate::testing::Subject;
use crate::{HistoryLimits, Options, Redb, Store};
use std::sync::Arc;
use tempfile::TempDir;

struct InFile {
    folder: TempDir,
    options: Options,
    store: Option<Arc<dyn Store>>,
}

impl InFile {
    fn store_at(folder: &TempDir, options: &Options) -> Arc<dyn Store> {
        Arc::new(Redb::open(&folder.path().join("store"), options).unwrap())
    }
}

impl Subject for InFile {
    fn open(history: HistoryLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { history, ..Options::default() };
        let store = Some(Self::store_at(&folder, &options));
        Self { folder, options, store }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().unwrap())
    }

    fn reopen(&mut self) -> bool {
        self.store = None;
        self.store = Some(Self::store_at(&self.folder, &self.options));
        true
    }
}

crate::store_tests!(InFile);
