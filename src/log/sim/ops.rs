//! Operations on a log as values: drawn at random, shown in a failure, carried out on a handle.

use super::{
    disk::WALL_START_MS,
    rng::Rng,
    state::{Seen, State},
};
use crate::{
    Error, ErrorKind, Result,
    log::{
        change::Change,
        entry::{Entry, Head, Times, Version, Write},
        handle::Log,
    },
};
use bytes::Bytes;
use std::{
    fmt,
    io::{Read, Write as _},
    sync::Arc,
};

/// Few keys, so that operations meet; one is long enough to fill sectors of its own.
const KEYS: [&[u8]; 6] = [b"a", b"b", b"key three", b"\0\xff", &[b'L'; 700], b"f"];

pub(super) const fn key_count() -> usize {
    KEYS.len()
}

pub(super) fn key(at: usize) -> &'static [u8] {
    KEYS[at]
}

/// A value, or the head of an alias.
#[derive(PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) head: Bytes,
    pub(super) body: Bytes,
    /// `None` where the engine takes them from its clock.
    pub(super) times: Option<Times>,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = |bytes: &Bytes| {
            let name: Vec<u8> = bytes.iter().copied().take(8).take_while(|byte| *byte != b'.').collect();
            String::from_utf8_lossy(&name).into_owned()
        };
        write!(f, "{}:{}+{}:{}", start(&self.head), self.head.len(), start(&self.body), self.body.len())
    }
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Put {
        key: usize,
        value: Arc<Stored>,
        aux: bool,
    },
    Alias {
        key: usize,
        to: usize,
        head: Arc<Stored>,
    },
    Delete {
        key: usize,
    },
    /// Expects the state that the key is in, or another one.
    Expect {
        key: usize,
        holds: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Update {
    Keep,
    Delete,
    Put(Arc<Stored>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Put {
        key: usize,
        value: Arc<Stored>,
    },
    Alias {
        key: usize,
        to: usize,
        head: Arc<Stored>,
    },
    Delete {
        key: usize,
    },
    Update {
        key: usize,
        change: Update,
    },
    UpdateHead {
        key: usize,
        head: Arc<Stored>,
        fresh: bool,
    },
    Batch(Vec<Part>),
    /// A value whose body is written in pieces, and which is dropped in the end or stored.
    Stream {
        key: usize,
        value: Arc<Stored>,
        piece: usize,
        commit: bool,
    },
    Clear,
    Compact,
    Flush,
    Checkpoint,
    Tick,
    Check,
    Stats,
    Get(usize),
    /// Reads a body in pieces.
    Read(usize),
    Head(usize),
    Entry(usize),
    Contains(usize),
    Len,
    Iter,
    /// Reads everything in every way.
    All,
}

/// What an operation returned.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Flag(bool),
    Body(Option<Bytes>),
    Entry(Option<Entry>),
    Head(Option<Head>),
    Len(u64),
    List(Vec<(Vec<u8>, Head)>),
    /// Whether a check found the file sound.
    Sound(bool),
    Seen(Box<Seen>),
    Failed(ErrorKind, String),
}

impl Op {
    pub(super) fn writes(&self) -> bool {
        use Op::{Alias, Batch, Clear, Delete, Put, Stream, Update, UpdateHead};
        matches!(
            self,
            Stream { commit: true, .. }
                | Put { .. }
                | Alias { .. }
                | Delete { .. }
                | Update { .. }
                | UpdateHead { .. }
                | Batch(_)
                | Clear
        )
    }

    pub(super) fn only_reads(&self) -> bool {
        !self.writes()
            && !matches!(self, Self::Stream { .. } | Self::Compact | Self::Flush | Self::Checkpoint | Self::Tick)
    }

    /// Whether nothing of it happens outside one call of the engine, so that another process cannot come between.
    pub(super) fn is_one_call(&self) -> bool {
        match self {
            Self::Batch(parts) => !parts.iter().any(|part| matches!(part, Part::Expect { .. })),
            Self::UpdateHead { .. } | Self::All => false,
            _ => true,
        }
    }

    /// The writes that the operation comes to in a state; `None` if it must fail with a conflict.
    pub(super) fn parts(&self, state: &State) -> Option<Vec<Part>> {
        Some(match self {
            Self::Put { key, value } | Self::Stream { key, value, commit: true, .. } => {
                vec![Part::Put { key: *key, value: Arc::clone(value), aux: false }]
            }
            Self::Alias { key, to, head } => vec![Part::Alias { key: *key, to: *to, head: Arc::clone(head) }],
            Self::Delete { key } | Self::Update { key, change: Update::Delete } => vec![Part::Delete { key: *key }],
            Self::Update { key, change: Update::Put(value) } => {
                vec![Part::Put { key: *key, value: Arc::clone(value), aux: state.is_aux(*key) }]
            }
            Self::UpdateHead { fresh: false, .. } => return None,
            Self::UpdateHead { key, head, .. } => vec![state.with_head(*key, head)?],
            Self::Batch(parts) if parts.iter().any(|part| matches!(part, Part::Expect { holds: false, .. })) => {
                return None;
            }
            Self::Batch(parts) => parts.clone(),
            _ => Vec::new(),
        })
    }
}

/// An outcome in a few words.
pub(super) fn show(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Body(body) => format!("-> {:?} bytes", body.as_ref().map(Bytes::len)),
        Outcome::Entry(entry) => format!("-> entry: {}", entry.is_some()),
        Outcome::Seen(seen) => format!("-> {}", seen.brief()),
        Outcome::List(list) => format!("-> {} entries", list.len()),
        _ => format!("-> {outcome:?}"),
    }
}

/// Carries an operation out.
pub(super) fn execute(log: &Log, op: &Op) -> Outcome {
    try_execute(log, op).unwrap_or_else(|error| failed(&error))
}

pub(super) fn failed(error: &Error) -> Outcome {
    Outcome::Failed(error.kind(), error.to_string())
}

fn try_execute(log: &Log, op: &Op) -> Result<Outcome> {
    let done = |()| Outcome::Done;
    Ok(match op {
        Op::Put { key: at, value } => match value.times {
            Some(times) => done(log.put_parts(key(*at), &value.head, &value.body, times)?),
            None => done(log.put(key(*at), &value.body)?),
        },
        Op::Alias { key: at, to, head } => match head.times {
            Some(times) => done(log.alias_with(key(*at), key(*to), &head.head, times)?),
            None => done(log.alias(key(*at), key(*to))?),
        },
        Op::Delete { key: at } => Outcome::Flag(log.delete(key(*at))?),
        Op::Update { key: at, change } => {
            let mut seen = None;
            log.update(key(*at), |entry| {
                seen = entry;
                match change {
                    Update::Keep => Change::Keep,
                    Update::Delete => Change::Delete,
                    Update::Put(value) => Change::Put {
                        head: value.head.to_vec(),
                        body: value.body.to_vec(),
                        times: value.times.unwrap_or(Times::kept(0)),
                    },
                }
            })?;
            Outcome::Entry(seen)
        }
        Op::UpdateHead { key: at, head, fresh } => {
            let entry = log.entry(key(*at))?;
            let version = entry.filter(|_| *fresh).map_or(Version::new(0, 0), |entry| entry.version);
            done(log.update_head(key(*at), version, &head.head, head.times.unwrap_or(Times::kept(0)))?)
        }
        Op::Batch(parts) => {
            let writes = parts.iter().map(|part| write(log, part)).collect::<Result<Vec<_>>>()?;
            done(log.apply(&writes)?)
        }
        Op::Clear => done(log.clear()?),
        Op::Compact => done(log.compact()?),
        Op::Flush => done(log.flush()?),
        Op::Checkpoint => done(log.checkpoint()?),
        Op::Tick => done(log.tick()?),
        Op::Check => Outcome::Sound(log.check()?.is_sound()),
        Op::Stats => Outcome::Len(log.stats()?.entries),
        Op::Stream { key: at, value, piece, commit } => {
            let mut writer = log.writer(key(*at), &value.head)?.times(value.times.unwrap_or(Times::kept(0)));
            for piece in value.body.chunks(*piece) {
                writer.write_all(piece).map_err(|error| error.downcast::<Error>().expect("an error of the log"))?;
            }
            if *commit {
                writer.commit()?;
            }
            Outcome::Done
        }
        Op::Get(at) => Outcome::Body(log.get(key(*at))?),
        Op::Read(at) => {
            let Some(mut reader) = log.reader(key(*at))? else { return Ok(Outcome::Body(None)) };
            let mut body = Vec::new();
            reader.read_to_end(&mut body).map_err(|error| Error::io("read a body", log.path(), error))?;
            Outcome::Body(Some(body.into()))
        }
        Op::Head(at) => Outcome::Head(log.head(key(*at))?),
        Op::Entry(at) => Outcome::Entry(log.entry(key(*at))?),
        Op::Contains(at) => Outcome::Flag(log.contains(key(*at))?),
        Op::Len => Outcome::Len(log.len()?),
        Op::Iter => Outcome::List(log.iter().collect::<Result<_>>()?),
        Op::All => Outcome::Seen(Box::new(observe(log)?)),
    })
}

fn write(log: &Log, part: &Part) -> Result<Write> {
    let bytes = |at: usize| Bytes::from_static(key(at));
    Ok(match part {
        Part::Put { key, value, aux } => Write::Put {
            key: bytes(*key),
            head: value.head.clone(),
            body: value.body.clone(),
            times: value.times.unwrap_or(Times::kept(0)),
            aux: *aux,
        },
        Part::Alias { key, to, head } => Write::Alias {
            key: bytes(*key),
            to: bytes(*to),
            head: head.head.clone(),
            times: head.times.unwrap_or(Times::kept(0)),
        },
        Part::Delete { key } => Write::Delete { key: bytes(*key) },
        Part::Expect { key: at, holds } => {
            let actual = log.entry(key(*at))?.map(|entry| entry.version);
            let other = if actual.is_some() { None } else { Some(Version::new(0, 0)) };
            Write::Expect { key: bytes(*at), version: if *holds { actual } else { other } }
        }
    })
}

/// Reads everything.
pub(super) fn observe(log: &Log) -> Result<Seen> {
    let mut seen = Seen {
        entries: Vec::with_capacity(KEYS.len()),
        bodies: Vec::with_capacity(KEYS.len()),
        len: log.len()?,
        list: log.iter().collect::<Result<_>>()?,
    };
    for key in KEYS {
        seen.entries.push(log.entry(key)?);
        seen.bodies.push(log.get(key)?);
    }
    Ok(seen)
}

/// How operations are drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taste {
    /// The longest body that is drawn often, and the one drawn now and then.
    pub(super) body_max: usize,
    pub(super) rare_body_max: usize,
    /// How often, in percent, an operation only reads.
    pub(super) reads: usize,
}

/// Draws values and operations.
#[derive(Debug)]
pub(super) struct Draw {
    pub(super) rng: Rng,
    taste: Taste,
    values: u64,
}

impl Draw {
    pub(super) fn new(rng: Rng, taste: Taste) -> Self {
        Self { rng, taste, values: 0 }
    }

    fn key(&mut self) -> usize {
        // The first keys are met more often.
        let n = self.rng.between(2, KEYS.len());
        self.rng.below(n)
    }

    /// A value that no other operation of the history writes.
    fn value(&mut self) -> Arc<Stored> {
        if self.taste.body_max <= 8 {
            return self.stored(0, 8, false);
        }
        let head_len = if self.rng.chance(60) { 0 } else { self.rng.below(40) };
        let body_len = match self.rng.below(20) {
            0..2 => 0,
            2..14 => self.rng.below(self.taste.body_max / 8 + 1),
            14..19 => self.rng.below(self.taste.body_max + 1),
            _ => self.rng.below(self.taste.rare_body_max + 1),
        };
        let plain = head_len == 0 && self.rng.chance(20);
        self.stored(head_len, body_len, plain)
    }

    fn stored(&mut self, head_len: usize, body_len: usize, plain: bool) -> Arc<Stored> {
        self.values += 1;
        let number = self.values;
        let times = Times::kept(WALL_START_MS - i64::try_from(number).expect("a small number"));
        Arc::new(Stored {
            head: fill('h', number, head_len),
            body: fill('v', number, body_len),
            times: (!plain).then_some(times),
        })
    }

    fn alias_head(&mut self) -> Arc<Stored> {
        let head_len = if self.rng.chance(50) { 0 } else { self.rng.between(1, 30) };
        let plain = head_len == 0 && self.rng.chance(50);
        self.stored(head_len, 0, plain)
    }

    fn part(&mut self) -> Part {
        let key = self.key();
        match self.rng.below(10) {
            0..6 => Part::Put { key, value: self.batch_value(), aux: self.rng.chance(20) },
            6..8 => Part::Alias { key, to: self.key(), head: self.batch_value() },
            _ => Part::Delete { key },
        }
    }

    /// A batch names all times itself.
    fn batch_value(&mut self) -> Arc<Stored> {
        let value = self.value();
        if value.times.is_some() { value } else { self.stored(0, value.body.len(), false) }
    }

    fn batch(&mut self) -> Op {
        let mut parts: Vec<_> = (0..self.rng.between(1, 4)).map(|_| self.part()).collect();
        for _ in 0..self.rng.below(8).saturating_sub(5) {
            let expect = Part::Expect { key: self.key(), holds: self.rng.chance(70) };
            parts.insert(self.rng.below(parts.len() + 1), expect);
        }
        Op::Batch(parts)
    }

    pub(super) fn read(&mut self) -> Op {
        match self.rng.below(8) {
            0 => Op::Get(self.key()),
            1 => Op::Read(self.key()),
            2 => Op::Head(self.key()),
            3 => Op::Entry(self.key()),
            4 => Op::Contains(self.key()),
            5 => Op::Len,
            6 => Op::Iter,
            _ => match self.rng.below(3) {
                0 => Op::Check,
                1 => Op::Stats,
                _ => Op::All,
            },
        }
    }

    /// A put of a value that reaches into a second sector or not much further.
    pub(super) fn put(&mut self) -> Op {
        let body_len = self.rng.between(0, 700);
        Op::Put { key: self.key(), value: self.stored(0, body_len, false) }
    }

    pub(super) fn op(&mut self) -> Op {
        if self.rng.chance(self.taste.reads) {
            return self.read();
        }
        let key = self.key();
        match self.rng.below(100) {
            0..26 => Op::Put { key, value: self.value() },
            26..34 => {
                let body_len = self.rng.between(0, 2600);
                let (value, piece) = (self.stored(0, body_len, false), self.rng.between(1, 900));
                Op::Stream { key, value, piece, commit: self.rng.chance(80) }
            }
            34..44 => Op::Alias { key, to: self.key(), head: self.alias_head() },
            44..54 => Op::Delete { key },
            54..60 => {
                let change = match self.rng.below(4) {
                    0 => Update::Keep,
                    1 => Update::Delete,
                    _ => Update::Put(self.batch_value()),
                };
                Op::Update { key, change }
            }
            60..66 => Op::UpdateHead { key, head: self.batch_value(), fresh: self.rng.chance(85) },
            66..84 => self.batch(),
            84..87 => Op::Clear,
            87..93 => Op::Compact,
            93..95 => Op::Flush,
            95..98 => Op::Checkpoint,
            _ => Op::Tick,
        }
    }
}

/// Bytes that name the value they belong to and hold no zeros, so that no lost sector looks like them. Those of every
/// third value can be compressed.
fn fill(kind: char, number: u64, len: usize) -> Bytes {
    if len == 0 {
        return Bytes::new();
    }
    let mut bytes = format!("{kind}{number}.").into_bytes();
    let mut rng = Rng::new(number << 8 | u64::from(kind as u8));
    while bytes.len() < len {
        bytes.extend_from_slice(&(rng.next() | 0x0101_0101_0101_0101).to_le_bytes());
        if number.is_multiple_of(3) && bytes.len() >= 40 {
            let missing = len.saturating_sub(bytes.len());
            bytes.extend_from_within(..missing.min(bytes.len()));
        }
    }
    bytes.truncate(len);
    bytes.into()
}
