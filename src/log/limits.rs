//! Logs that may take so much space and no more, on the real disk.

use super::{
    Clock, Log, Options, Times, Write as Op,
    bookkeeping::{BookRecord, Bookkeeping, Pruned},
    env::Env,
    sim::Call,
    watched::{Told, Watched},
};
use crate::ErrorKind;
use std::{
    fs,
    io::Write,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

const MIB: u64 = 1 << 20;
const MAX: u64 = 4 * MIB;

/// As of a process of its own, without a thread in the background: writers make room themselves.
fn alone(path: &Path, options: &Options) -> Log {
    Watched::unwatched().open(path, options)
}

/// The same with so little beyond the limit that it shows.
fn tight(path: &Path, options: &Options) -> Log {
    let env = Env { size_slack: 64 << 10, ..Watched::unwatched().env() };
    Log::open_in(env, path, options).unwrap()
}

fn len_of(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn options() -> Options {
    Options::new().fast_save(true).max_size(MAX)
}

#[test]
fn the_file_stays_within_its_limit_and_what_is_read_stays_in_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, slack) in [("a", 64 << 10), ("b", 16 * MIB)] {
        let path = folder.path().join(name);
        let log = if slack == 16 * MIB { Log::open(&path, options()).unwrap() } else { tight(&path, &options()) };
        for n in 0..20 {
            log.put(format!("hot {n}"), vec![n; 5000]).unwrap();
        }
        log.alias("hot alias", "hot 3").unwrap();
        let mut misses = 0;
        for n in 0..4000_u32 {
            log.put(format!("cold {n}"), vec![7; 10_000 + n as usize % 100]).unwrap();
            log.alias(format!("alias {n}"), format!("cold {n}")).unwrap();
            assert!(len_of(&path) <= MAX + slack + 11_000, "{} bytes after {n}", len_of(&path));
            if n % 50 == 0 {
                misses += (0..20).filter(|n| log.get(format!("hot {n}")).unwrap().is_none()).count();
                misses += usize::from(log.get("hot alias").unwrap().is_none());
            }
        }
        assert_eq!(misses, 0);
        assert!(log.stats().unwrap().evictions > 2000, "{:?}", log.stats().unwrap());
        assert_eq!(log.get("cold 3999").unwrap().unwrap().len(), 10_099);
        assert_eq!(log.get("cold 0").unwrap(), None);
        // Aliases go with what they lead to.
        let aliases = log.stats().unwrap().aliases;
        assert!(aliases <= log.len().unwrap() && log.get("alias 0").unwrap().is_none(), "{aliases}");
        assert_eq!(log.get("alias 3999").unwrap().unwrap().len(), 10_099);
        assert!(log.check().unwrap().is_sound());
        log.close().unwrap();
        let log = Log::open(&path, Options::new().read_only(true)).unwrap();
        assert!((0..20).all(|n: u8| log.get(format!("hot {n}")).unwrap().unwrap() == vec![n; 5000]));
    }
}

#[test]
fn a_long_value_beside_much_bookkeeping_gives_way_to_what_is_written_next() {
    let folder = tempfile::tempdir().unwrap();
    let log = tight(&folder.path().join("c.larder"), &Options::new().max_size(100_000));
    let book =
        Op::Put { key: "book".into(), head: "".into(), body: vec![9; 60_000].into(), times: Times::kept(0), aux: true };
    log.apply(&[book]).unwrap();
    log.put("long", vec![7; 95_000]).unwrap();
    assert!(log.get("long").unwrap().is_some(), "what was just written is there");
    for n in 0..20 {
        log.put(format!("{n}"), [7; 1000]).unwrap();
    }
    assert_eq!((log.get("long").unwrap(), log.entry("book").unwrap().unwrap().body.len()), (None, 60_000));
    assert!(log.get("19").unwrap().is_some());
}

#[test]
fn nothing_goes_before_the_file_has_reached_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    let log = alone(&path, &options());
    for n in 0..390 {
        log.put(format!("{n}"), [7; 10_000]).unwrap();
    }
    log.compact().unwrap();
    log.tick().unwrap();
    assert_eq!((log.len().unwrap(), log.stats().unwrap().evictions), (390, 0));
}

#[test]
fn what_is_longer_than_the_limit_is_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let log = alone(&folder.path().join("c.larder"), &options());
    let large = vec![7; usize::try_from(MAX).unwrap() + 1];
    assert_eq!(log.put("key", &large).unwrap_err().kind(), ErrorKind::TooLarge);
    let mut batch = log.batch();
    batch.put("a", &large[..3 << 20]).put("b", &large[..3 << 20]);
    assert_eq!(batch.commit().unwrap_err().kind(), ErrorKind::TooLarge);
    let mut stage = log.stage().unwrap();
    let error = stage.write_all(&large).unwrap_err().downcast::<crate::Error>().unwrap();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(log.is_empty().unwrap());
    log.put("key", &large[..4_000_000]).unwrap();
    assert_eq!(log.get("key").unwrap().unwrap().len(), 4_000_000);
    log.put("other", "x").unwrap();
    assert!(log.get("other").unwrap().is_some());
}

#[test]
fn streams_keep_to_the_limit_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    let log = tight(&path, &options());
    let piece = vec![7; 1 << 19];
    for round in 0..6 {
        let mut writers: Vec<_> = (0..2).map(|n| log.writer(format!("{round} {n}"), "").unwrap()).collect();
        for _ in 0..6 {
            for writer in &mut writers {
                writer.write_all(&piece).unwrap();
            }
            log.put("small", [1; 1000]).unwrap();
            assert!(len_of(&path) <= 2 * MAX + (64 << 10), "{}", len_of(&path));
        }
        for writer in writers {
            writer.commit().unwrap();
            assert!(len_of(&path) <= 2 * MAX + (64 << 10), "{}", len_of(&path));
        }
        assert_eq!(log.get(format!("{round} 1")).unwrap().unwrap().len(), 6 << 19);
    }
    assert!(log.check().unwrap().is_sound());
}

/// A clock whose wall the test moves.
#[derive(Debug, Default)]
struct Wall(AtomicI64);

impl Clock for Arc<Wall> {
    fn wall_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn what_one_process_has_read_another_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    let wall = Arc::new(Wall::default());
    let options = options().clock(Arc::clone(&wall));
    let open = || {
        let env = Env { clock: options.clock.clone(), ..Watched::unwatched().env() };
        Log::open_in(env, &path, &options).unwrap()
    };
    let log = open();
    for n in 0..390 {
        log.put(format!("{n}"), [7; 10_000]).unwrap();
    }
    log.close().unwrap();
    let before = len_of(&path);
    let read = || {
        let log = open();
        assert!((0..10).all(|n| log.get(format!("{n}")).unwrap().is_some()));
        log.close().unwrap();
    };
    read();
    let after = len_of(&path);
    assert!(after > before && after < before + 1000, "{before} {after}");
    read();
    assert_eq!(len_of(&path), after, "once an hour is enough");
    wall.0.store(2 * 60 * 60 * 1000, Ordering::Relaxed);
    read();
    assert!(len_of(&path) > after);
    // Without a limit reading changes nothing.
    let after = len_of(&path);
    let free = alone(&path, &Options::new());
    assert!(free.get("0").unwrap().is_some());
    free.close().unwrap();
    assert_eq!(len_of(&path), after);

    let log = open();
    for n in 0..40 {
        log.put(format!("new {n}"), [7; 10_000]).unwrap();
    }
    log.tick().unwrap();
    assert!(log.stats().unwrap().evictions > 100);
    assert!((0..10).all(|n| log.contains(format!("{n}")).unwrap()) && !log.contains("11").unwrap());
    assert!(log.contains("new 39").unwrap() && log.check().unwrap().is_sound());
}

#[test]
fn a_checkpoint_says_again_what_was_read_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    let log = alone(&path, &options());
    for n in 0..390 {
        log.put(format!("{n}"), [7; 10_000]).unwrap();
    }
    for n in 0..3 {
        assert!(log.get(format!("{n}")).unwrap().is_some());
        log.checkpoint().unwrap();
        log.put("more", "x").unwrap();
    }
    drop(log);
    let log = alone(&path, &options());
    let generation = log.shared.generation();
    assert!(generation.view().segment().is_some());
    let uses = log.shared.uses(&generation, &log.shared.counted());
    let hits = |key: &str| uses.get(generation.header.hash(key.as_bytes())).map(|used| used.hits > 0);
    assert_eq!((hits("0"), hits("1"), hits("2"), hits("3")), (Some(true), Some(true), Some(true), None));
}

/// Books of lines that name keys.
#[derive(Debug)]
struct Lines;

impl Bookkeeping for Lines {
    fn prune(&self, record: &BookRecord<'_>, gone: &mut dyn FnMut(&[u8]) -> bool) -> Pruned {
        if record.key == b"salt" {
            return Pruned::Keep;
        }
        let lines: Vec<&[u8]> = record.head.split(|byte| *byte == b'\n').collect();
        let left: Vec<&[u8]> = lines.iter().filter(|line| !gone(line)).copied().collect();
        match left.len() {
            0 => Pruned::Drop,
            n if n == lines.len() => Pruned::Keep,
            _ => Pruned::Head(left.join(&b'\n').into()),
        }
    }
}

fn book(key: &str, lines: &str) -> Op {
    Op::Put {
        key: key.as_bytes().to_vec().into(),
        head: lines.as_bytes().to_vec().into(),
        body: bytes::Bytes::new(),
        times: Times::kept(0),
        aux: true,
    }
}

fn head(log: &Log, key: &str) -> Option<String> {
    log.head(key).unwrap().map(|head| String::from_utf8(head.head.to_vec()).unwrap())
}

#[test]
fn books_and_aliases_forget_what_is_gone_and_take_back_what_returns_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.larder");
    let armed = Arc::new(AtomicBool::new(false));
    let other: Arc<Mutex<Option<Log>>> = Arc::default();
    let (fire, writer) = (Arc::clone(&armed), Arc::clone(&other));
    // The first sync of a compaction comes between what it decides and the last look at what was written meanwhile.
    let disk = Watched::new(move |told| {
        if told == Told::Before(Call::Sync) && fire.swap(false, Ordering::AcqRel) {
            let log = writer.lock().unwrap().take().unwrap();
            log.put("0", "again").unwrap();
        }
        Ok(())
    });
    let options = options().bookkeeping(Arc::new(Lines));
    let log = disk.open(&path, &options);
    let fill = |from: u32, to: u32| {
        for n in from..to {
            log.put(format!("{n}"), [7; 10_000]).unwrap();
        }
    };
    fill(0, 100);
    log.apply(&[
        book("salt", "salt"),
        book("old", "0\n1"),
        book("older", "0\n3\nabsent"),
        book("both", "5\n419"),
        book("gone", "6\n7"),
    ])
    .unwrap();
    log.alias("way", "6").unwrap();
    log.alias("back", "0").unwrap();
    log.alias("round", "back").unwrap();
    log.apply(&[book("ways", "way"), book("rounds", "round")]).unwrap();
    fill(100, 420);
    *other.lock().unwrap() = Some(alone(&path, &Options::new().fast_save(true)));
    armed.store(true, Ordering::Release);
    log.compact().unwrap();
    assert!(log.stats().unwrap().evictions > 100 && !armed.load(Ordering::Acquire));
    assert_eq!(log.get("0").unwrap().as_deref(), Some(&b"again"[..]));
    assert_eq!(head(&log, "salt").as_deref(), Some("salt"));
    assert_eq!(head(&log, "old").as_deref(), Some("0\n1"), "whoever stored `0` again has found it listed");
    assert_eq!(head(&log, "older").as_deref(), Some("0\n3\nabsent"));
    assert_eq!(head(&log, "both").as_deref(), Some("419"));
    assert_eq!(log.get("round").unwrap().as_deref(), Some(&b"again"[..]), "so has whoever made an alias of it");
    assert_eq!(head(&log, "rounds").as_deref(), Some("round"));
    assert_eq!((head(&log, "gone"), head(&log, "ways"), log.get("way").unwrap()), (None, None, None));
    log.compact().unwrap();
    assert_eq!(head(&log, "older").as_deref(), Some("0"));
    assert!(log.check().unwrap().is_sound());
}
