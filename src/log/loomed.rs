//! Every order in which a few threads may come, tried by loom: group commit, and catching up beside writers and
//! beside a file that takes the place of another.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --no-default-features --lib loomed` runs them. Threads are preempted at most
//! three times (in the longest test twice) between operations on locks and atomics, and wherever they have to wait.

use super::{
    Options,
    disk::{DiskFile, Stat},
    env::Env,
    generation::{CaughtUp, Generation},
    header::FileHeader,
    map::Map,
    plant::{Bug, plant},
    real_disk::RealDisk,
    record::{Kind, RecordHeader},
    sim::{self, Call},
    sync::{AtomicBool, AtomicU64},
    walk::{Batch, Found, Position},
    watched::{Told, Watched},
};
use crate::ErrorKind;
use loom::thread;
use std::{
    io::{self, IoSlice},
    panic::catch_unwind,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const PATH: &str = "/d/c.larder";

fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    // Enough for every model here; loom's own limit is for smaller ones.
    builder.max_branches = 100_000;
    let orders = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = Arc::clone(&orders);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    eprintln!("{} orders", orders.load(Ordering::Relaxed));
}

/// A file in memory that knows how much of it a sync has covered.
#[derive(Debug, Clone)]
struct File(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Of std: nobody waits for it, since nothing that loom sees happens under it.
    bytes: Mutex<Vec<u8>>,
    size: AtomicU64,
    durable: AtomicU64,
    /// Whether the next sync fails. After that none makes anything durable any more, although it says so.
    fails: AtomicBool,
    failed: AtomicBool,
}

impl File {
    fn new(fails: bool) -> Self {
        let bytes = FileHeader::new(7, [0; 16], 0).first_pages();
        let size = bytes.len() as u64;
        Self(Arc::new(Inner {
            bytes: Mutex::new(bytes),
            size: AtomicU64::new(size),
            durable: AtomicU64::new(size),
            fails: AtomicBool::new(fails),
            failed: AtomicBool::new(false),
        }))
    }

    fn open(&self) -> Generation {
        let env = Env { memory_tier: 0, failed: Arc::default(), ..Env::default() };
        Generation::load(&env, Path::new(PATH), Box::new(self.clone())).unwrap()
    }

    fn durable(&self) -> u64 {
        self.0.durable.load(Ordering::Acquire)
    }
}

impl DiskFile for File {
    fn stat(&self) -> io::Result<Stat> {
        let size = self.0.size.load(Ordering::Acquire);
        Ok(Stat { dev: 1, ino: 1, nlink: 1, size, uid: 0, gid: 0, mode: 0o600, is_file: true })
    }

    fn pread(&self, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        let bytes = self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        let end = (start + len).min(bytes.len());
        buf.extend_from_slice(&bytes[start..end]);
        Ok(end - start)
    }

    fn pwritev(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let wanted: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        // As the kernel does it: the size grows before or while the bytes come, never after a reader could see them.
        let end = offset + wanted.len() as u64;
        {
            let mut bytes = self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner);
            bytes.resize(usize::try_from(end).unwrap(), 0);
            bytes[usize::try_from(offset).unwrap()..].copy_from_slice(&wanted);
        }
        self.0.size.store(end, Ordering::Release);
        Ok(wanted.len())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        let covered = self.0.size.load(Ordering::Acquire);
        if self.0.fails.swap(false, Ordering::AcqRel) {
            self.0.failed.store(true, Ordering::Release);
            return Err(io::Error::other("the medium"));
        }
        if !self.0.failed.load(Ordering::Acquire) {
            self.0.durable.fetch_max(covered, Ordering::AcqRel);
        }
        Ok(())
    }

    fn map(&self, _: u64, _: usize) -> io::Result<Option<Map>> {
        Ok(None)
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn unlock(&self) -> io::Result<()> {
        Ok(())
    }

    fn adopt(&self, _: &Stat) -> io::Result<()> {
        Ok(())
    }
}

/// Appends the smallest record there is, as a writer does, and returns its ticket.
fn append(generation: &Generation) -> u64 {
    assert!(generation.gate.enter(HOUR));
    let start = generation.view().position();
    let mut header = RecordHeader::new(Kind::Clear);
    header.prev_crc = start.chain;
    let bytes = header.encode(generation.header.file_id, start.offset);
    generation.file.pwritev(&[IoSlice::new(&bytes)], start.offset).unwrap();
    let end = Position { offset: start.offset + header.total_len(), chain: header.header_crc };
    let batch = Batch { records: vec![Found { offset: start.offset, header }], ..Batch::default() };
    generation.publish(&batch, end).unwrap();
    generation.gate.leave();
    end.offset
}

#[test]
fn nobody_is_told_of_a_sync_that_did_not_cover_what_he_wrote() {
    explore(3, group_commit);
}

#[test]
fn these_orders_would_show_what_is_wrong() {
    for bug in [Bug::SyncCoversLate, Bug::SyncUntold, Bug::AckBeforeSync] {
        plant(Some(bug));
        let caught = catch_unwind(|| explore(3, group_commit)).is_err();
        plant(None);
        assert!(caught, "{bug:?} is not caught");
    }
}

fn group_commit() {
    let file = File::new(false);
    let generation = Arc::new(file.open());
    // Of the folder see below: every operation here multiplies the orders there are.
    generation.folder_synced.store(true, Ordering::Relaxed);
    let write = |file: File, generation: Arc<Generation>| {
        move || {
            let ticket = append(&generation);
            generation.wait_until_synced(ticket, &RealDisk, Path::new(PATH)).unwrap();
            assert!(file.durable() >= ticket);
        }
    };
    let others = [(); 2].map(|()| thread::spawn(write(file.clone(), Arc::clone(&generation))));
    write(file, generation)();
    for other in others {
        other.join().unwrap();
    }
}

#[test]
fn after_a_failed_sync_nobody_is_told_that_his_write_is_durable() {
    explore(3, || {
        let file = File::new(true);
        let generation = Arc::new(file.open());
        generation.folder_synced.store(true, Ordering::Relaxed);
        let write = |file: File, generation: Arc<Generation>| {
            move || {
                let ticket = append(&generation);
                let told = generation.wait_until_synced(ticket, &RealDisk, Path::new(PATH));
                assert!(told.is_err() || file.durable() >= ticket);
                told.map_err(|error| error.kind())
            }
        };
        let others = [(); 2].map(|()| thread::spawn(write(file.clone(), Arc::clone(&generation))));
        let own = write(file, Arc::clone(&generation))();
        let told = others.map(|other| other.join().unwrap());
        // The first sync fails, and with it everybody: once as the error itself, else as what it has led to.
        let kinds = [own, told[0], told[1]].map(|told| told.unwrap_err());
        assert_eq!(kinds.iter().filter(|kind| **kind == ErrorKind::Io).count(), 1, "{kinds:?}");
        assert!(kinds.iter().all(|kind| matches!(kind, ErrorKind::Io | ErrorKind::Poisoned)));
        assert!(generation.check_poison().is_err());
    });
}

#[test]
fn nobody_is_told_before_the_folder_is_synced() {
    explore(3, || {
        let file = File::new(false);
        let generation = Arc::new(file.open());
        let syncs = Arc::new(AtomicU64::new(0));
        let write = |generation: Arc<Generation>, syncs: Arc<AtomicU64>| {
            move || {
                let count = Arc::clone(&syncs);
                let told = move |told| {
                    count.fetch_add(u64::from(told == Told::Before(Call::SyncDir)), Ordering::AcqRel);
                    Ok(())
                };
                let disk = Watched::over(sim::any_disk(), Arc::new(told));
                let ticket = append(&generation);
                generation.wait_until_synced(ticket, &disk, Path::new(PATH)).unwrap();
                assert!(syncs.load(Ordering::Acquire) > 0);
            }
        };
        let other = thread::spawn(write(Arc::clone(&generation), Arc::clone(&syncs)));
        write(generation, syncs)();
        other.join().unwrap();
    });
}

#[test]
fn readers_miss_nothing_that_was_acknowledged_before_and_never_go_back() {
    explore(3, || {
        let file = File::new(false);
        // Two processes with the file open: one writes, two threads of the other catch up.
        let (writer, reader) = (file.open(), Arc::new(file.open()));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&acknowledged);
        let write = thread::spawn(move || {
            for _ in 0..2 {
                told.store(append(&writer), Ordering::Release);
            }
        });
        let look = |reader: Arc<Generation>, acknowledged: Arc<AtomicU64>, looks: usize| {
            move || {
                let mut last = 0;
                for _ in 0..looks {
                    let least = acknowledged.load(Ordering::Acquire).max(last);
                    let stat = reader.file.stat().unwrap();
                    let caught_up = reader.catch_up(&stat).unwrap();
                    assert!(matches!(caught_up, CaughtUp::Complete | CaughtUp::Torn), "{caught_up:?}");
                    last = reader.view().position().offset;
                    assert!(last >= least && reader.seen() >= last);
                }
            }
        };
        let other = thread::spawn(look(Arc::clone(&reader), Arc::clone(&acknowledged), 1));
        look(reader, acknowledged, 2)();
        write.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn readers_and_writers_of_one_process_go_on_while_another_generation_takes_the_place_of_theirs() {
    explore(2, || {
        let log = sim::any_log(&Options::new().memory_tier(0).lock_timeout(HOUR));
        log.put("key", "0").unwrap();
        let (writer, reader) = (log.clone(), log.clone());
        let write = thread::spawn(move || {
            writer.put("key", "1").unwrap();
            assert_eq!(writer.get("key").unwrap().as_deref(), Some(&b"1"[..]));
        });
        let read = thread::spawn(move || {
            let first = reader.get("key").unwrap().unwrap();
            let second = reader.get("key").unwrap().unwrap();
            assert!(first <= second, "{first:?}, then {second:?}");
        });
        log.compact().unwrap();
        write.join().unwrap();
        read.join().unwrap();
        assert_eq!(log.get("key").unwrap().as_deref(), Some(&b"1"[..]));
    });
}
