//! What other threads may do at a certain moment of a compaction: the disk calls a test between two steps.

use super::{
    Log, Options,
    env::Env,
    hooked::{Hook, HookedDisk},
    real_disk::RealDisk,
    sim::Call,
};
use crate::ErrorKind;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Runs something at the first write after the first rename over a file.
#[derive(Default)]
struct AfterRename {
    renamed: AtomicBool,
    run: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Hook for AfterRename {
    fn before(&self, call: Call, len: usize) -> usize {
        if call == Call::Write && self.renamed.load(Ordering::Acquire) {
            let run = self.run.lock().unwrap().take();
            if let Some(run) = run {
                run();
            }
        }
        len
    }

    fn after(&self, call: Call) {
        // The file was created with a rename as well, when there was nothing to run yet.
        let waits = self.run.lock().unwrap().is_some();
        self.renamed.fetch_or(call == Call::Rename && waits, Ordering::AcqRel);
    }
}

#[test]
fn nobody_writes_to_a_new_generation_before_the_compaction_has_let_go_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let hook = Arc::new(AfterRename::default());
    let disk = Arc::new(HookedDisk::new(RealDisk, Arc::clone(&hook)));
    let env = Env { disk, background: false, shared: false, ..Env::default() };
    let options = Options::new().lock_timeout(Duration::from_millis(50));
    let log = Log::open_in(env, &folder.path().join("cache.larder"), &options).unwrap();
    log.put("a", "1").unwrap();

    // The first write after the rename is the seal of the old file: the new one has its name and is known to all.
    let (other, outcome) = (log.clone(), Arc::new(Mutex::new(None)));
    let told = Arc::clone(&outcome);
    *hook.run.lock().unwrap() = Some(Box::new(move || {
        assert_eq!(other.get("a").unwrap().as_deref(), Some(&b"1"[..]), "readers go on");
        *told.lock().unwrap() = Some(other.put("b", "2").unwrap_err().kind());
    }));
    log.compact().unwrap();
    assert_eq!(*outcome.lock().unwrap(), Some(ErrorKind::Busy));
    log.put("b", "2").unwrap();
    assert_eq!(log.get("b").unwrap().as_deref(), Some(&b"2"[..]));
}
