//! What other threads may do at a certain moment of a compaction: the disk calls a test between two steps.

use super::{
    Options,
    sim::Call,
    watched::{Told, Watched},
};
use crate::ErrorKind;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

type Hook = Box<dyn FnOnce() + Send>;

/// Runs a hook at the first write after the first rename since it was set.
#[derive(Default)]
struct Hooked {
    renamed: AtomicBool,
    hook: Mutex<Option<Hook>>,
}

impl Hooked {
    fn told(&self, told: Told) {
        match told {
            // A new file is renamed into place, too, before there is a hook.
            Told::After(Call::Rename) => self.renamed.store(self.hook.lock().unwrap().is_some(), Ordering::Release),
            Told::Before(Call::Write { .. }) if self.renamed.load(Ordering::Acquire) => {
                let hook = self.hook.lock().unwrap().take();
                if let Some(hook) = hook {
                    hook();
                }
            }
            _ => {}
        }
    }
}

#[test]
fn nobody_writes_to_a_new_generation_before_the_compaction_has_let_go_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let hooked = Arc::new(Hooked::default());
    let told = Arc::clone(&hooked);
    let disk = Watched::new(move |call| {
        told.told(call);
        Ok(())
    });
    let options = Options::new().lock_timeout(Duration::from_millis(50));
    let log = disk.open(&folder.path().join("cache.larder"), &options);
    log.put("a", "1").unwrap();

    // The first write after the rename is the seal of the old file: the new one has its name and is known to all.
    let (other, outcome) = (log.clone(), Arc::new(Mutex::new(None)));
    let told = Arc::clone(&outcome);
    *hooked.hook.lock().unwrap() = Some(Box::new(move || {
        assert_eq!(other.get("a").unwrap().as_deref(), Some(&b"1"[..]), "readers go on");
        *told.lock().unwrap() = Some(other.put("b", "2").unwrap_err().kind());
    }));
    log.compact().unwrap();
    assert_eq!(*outcome.lock().unwrap(), Some(ErrorKind::Busy));
    log.put("b", "2").unwrap();
    assert_eq!(log.get("b").unwrap().as_deref(), Some(&b"2"[..]));
}
