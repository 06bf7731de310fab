//! [`Disk`] as one simulated process sees it.

use super::{
    plans::{Call, Shorter, Turn},
    world::{Machine, Open, World},
};
use crate::log::{
    clock::Clock,
    disk::{Access, Disk, DiskFile, Stat},
    env::{Checkpoints, Env, Pieces},
    map::Map,
};
use rustix::io::Errno;
use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard},
    time::Duration,
};

/// The wall clock when a simulation begins, in milliseconds since the Unix epoch.
pub(super) const WALL_START_MS: i64 = 1_700_000_000_000;

/// The clocks of the machine; only waiting and the history itself advance them.
#[derive(Debug)]
pub(super) struct SimClock(pub(super) Arc<World>);

impl Clock for SimClock {
    fn wall_ms(&self) -> i64 {
        WALL_START_MS + i64::try_from(self.monotonic().as_millis()).expect("a short history")
    }

    fn monotonic(&self) -> Duration {
        self.0.machine().now
    }
}

/// The surroundings of a log in the simulated process `process`.
pub(super) fn env(world: &Arc<World>, process: usize, seed: u64) -> Env {
    Env {
        disk: Arc::new(SimDisk::new(Arc::clone(world), process)),
        clock: Arc::new(SimClock(Arc::clone(world))),
        seed: Some(seed),
        background: false,
        shared: false,
        pid: || 1,
        // Little, so that short histories see compactions that nobody asked for.
        dead_bytes_max: 4096,
        map_index: false,
        pieces: Pieces { chunk: 1100, inline_max: 1400, ahead_min: 200, whole_max: 500, shared_min: 100 },
        memory_tier: 0,
        slot_every_bytes: 500,
        max_size: None,
        size_slack: 60_000,
        bookkeeping: None,
        checkpoints: Checkpoints { tail_bytes_max: 3000, small_bytes: 600, small_keys: 2 },
        failed: Arc::default(),
    }
}

/// The folder of the machine, seen by one process.
#[derive(Debug)]
pub(super) struct SimDisk {
    world: Arc<World>,
    process: usize,
}

impl SimDisk {
    pub(super) fn new(world: Arc<World>, process: usize) -> Self {
        Self { world, process }
    }

    fn enter(&self, call: Call) -> io::Result<(MutexGuard<'_, Machine>, Turn)> {
        self.world.enter(self.process, call)
    }

    fn rename_if(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        let (mut machine, turn) = self.enter(Call::Rename)?;
        if !replace && machine.find(to).is_some() {
            return Err(Errno::EXIST.into());
        }
        machine.rename(from, to)?;
        machine.leave(self.process, turn)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let creates = access == Access::ReadWriteCreate && self.world.machine().find(path).is_none();
        let (mut machine, turn) = self.enter(if creates { Call::Create } else { Call::Open })?;
        let inode = match machine.find(path) {
            Some(inode) => inode,
            None if access == Access::ReadWriteCreate => machine.create(path),
            None => return Err(Errno::NOENT.into()),
        };
        machine.leave(self.process, turn)?;
        machine.opened += 1;
        let id = machine.opened;
        let sync_errors_seen = machine.inodes[inode].sync_errors;
        machine.inodes[inode].open += 1;
        machine.opens.push(Open { id, process: self.process, inode, sync_errors_seen });
        let world = Arc::clone(&self.world);
        Ok(Box::new(SimFile { world, process: self.process, inode, id, writable: access != Access::Read }))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_path_buf())
    }

    fn user(&self) -> u32 {
        0
    }

    fn stat_path(&self, path: &Path) -> io::Result<Option<Stat>> {
        let (mut machine, turn) = self.enter(Call::StatPath)?;
        machine.leave(self.process, turn)?;
        Ok(machine.find(path).map(|inode| stat_of(&machine, inode)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_if(from, to, true)
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_if(from, to, false)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let (mut machine, turn) = self.enter(Call::Unlink)?;
        machine.unlink(path)?;
        machine.leave(self.process, turn)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let (mut machine, turn) = self.enter(Call::SyncDir)?;
        if matches!(turn, Turn::DropPages { .. }) {
            return Err(Errno::IO.into());
        }
        machine.sync_names();
        machine.leave(self.process, turn)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let (mut machine, turn) = self.enter(Call::FreeBytes)?;
        machine.leave(self.process, turn)?;
        Ok(machine.free())
    }

    fn pause(&self, time: Duration) {
        self.world.advance(time);
    }
}

/// An open file of one process.
#[derive(Debug)]
struct SimFile {
    world: Arc<World>,
    process: usize,
    inode: usize,
    id: u64,
    writable: bool,
}

impl SimFile {
    fn enter(&self, call: Call) -> io::Result<(MutexGuard<'_, Machine>, Turn)> {
        if !self.writable && matches!(call, Call::Write { .. } | Call::Truncate | Call::Adopt) {
            return Err(Errno::BADF.into());
        }
        self.world.enter(self.process, call)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.world.machine().close(self.id);
    }
}

impl DiskFile for SimFile {
    fn stat(&self) -> io::Result<Stat> {
        let (mut machine, turn) = self.enter(Call::Stat)?;
        machine.leave(self.process, turn)?;
        Ok(stat_of(&machine, self.inode))
    }

    fn pread(&self, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        let (mut machine, turn) = self.enter(Call::Read { offset, len })?;
        machine.leave(self.process, turn)?;
        let len = if let Turn::Short(shorter) = turn { shorter.of(len) } else { len };
        let inode = &machine.inodes[self.inode];
        let start = usize::try_from(offset).map_or(inode.size(), |offset| offset.min(inode.size()));
        let len = len.min(inode.size() - start);
        if inode.is_unreadable(start, len, machine.sector) {
            return Err(Errno::IO.into());
        }
        buf.extend_from_slice(&inode.data[start..start + len]);
        Ok(len)
    }

    fn pwritev(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        let (mut machine, turn) = self.enter(Call::Write { offset, len: wanted })?;
        let offset = usize::try_from(offset).expect("a small file");
        let (Turn::Short(shorter) | Turn::Die(shorter)) = turn else {
            return write(&mut machine, self.inode, bufs, wanted, offset);
        };
        // Only regular work meets a full disk, so that a plan is followed to the letter.
        let written = write(&mut machine, self.inode, bufs, shorter.of(wanted), offset);
        machine.leave(self.process, turn)?;
        written
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let (mut machine, turn) = self.enter(Call::Truncate)?;
        let sector = machine.sector;
        let size = usize::try_from(size).expect("a small file");
        machine.changes_made += 1;
        machine.inodes[self.inode].truncate(size, sector);
        machine.leave(self.process, turn)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut machine, turn) = self.enter(Call::Sync)?;
        let machine = &mut *machine;
        let sector = machine.sector;
        let inode = &mut machine.inodes[self.inode];
        if let Turn::DropPages { forget } = turn {
            inode.drop_dirty(forget, sector);
            inode.sync_errors += 1;
        }
        // Every open file is told once of each failure, whoever's sync met it.
        let errors = inode.sync_errors;
        let open = machine.opens.iter_mut().find(|open| open.id == self.id).expect("the file is open");
        if std::mem::replace(&mut open.sync_errors_seen, errors) < errors {
            return Err(Errno::IO.into());
        }
        match turn {
            Turn::Die(Shorter::All) | Turn::Work | Turn::Short(_) => inode.sync(sector),
            _ => {}
        }
        machine.leave(self.process, turn)
    }

    fn map(&self, _: u64, _: usize) -> io::Result<Option<Map>> {
        Ok(None)
    }

    fn try_lock(&self) -> io::Result<bool> {
        let (mut machine, turn) = self.enter(Call::Lock)?;
        machine.leave(self.process, turn)?;
        let holder = &mut machine.inodes[self.inode].locked_by;
        Ok(*holder.get_or_insert(self.id) == self.id)
    }

    fn unlock(&self) -> io::Result<()> {
        // Never fails, and is never the call to die in: the next one is as good.
        let mut machine = self.world.machine();
        let holder = &mut machine.inodes[self.inode].locked_by;
        *holder = holder.filter(|id| *id != self.id);
        Ok(())
    }

    fn adopt(&self, like: &Stat) -> io::Result<()> {
        let (mut machine, turn) = self.enter(Call::Adopt)?;
        machine.changes_made += 1;
        machine.inodes[self.inode].mode = like.mode;
        machine.leave(self.process, turn)
    }
}

/// Writes up to `wanted` bytes, fewer where the disk is full.
fn write(machine: &mut Machine, inode: usize, bufs: &[IoSlice<'_>], wanted: usize, offset: usize) -> io::Result<usize> {
    let room = usize::try_from(machine.free()).unwrap_or(usize::MAX);
    let inside = machine.inodes[inode].size().saturating_sub(offset);
    let allowed = wanted.min(inside.saturating_add(room));
    if allowed == 0 && wanted > 0 {
        return Err(Errno::NOSPC.into());
    }
    let sector = machine.sector;
    if machine.partial_write_fails && machine.inodes[inode].is_unreadable(offset, allowed, sector) {
        let whole = offset.is_multiple_of(sector) && allowed.is_multiple_of(sector);
        if !whole {
            return Err(Errno::IO.into());
        }
    }
    let mut bytes = Vec::with_capacity(allowed);
    for buf in bufs {
        bytes.extend_from_slice(&buf[..buf.len().min(allowed - bytes.len())]);
    }
    machine.changes_made += 1;
    machine.inodes[inode].write(&bytes, offset, sector);
    Ok(allowed)
}

fn stat_of(machine: &Machine, at: usize) -> Stat {
    let inode = &machine.inodes[at];
    Stat {
        dev: 1,
        ino: at as u64 + 1,
        nlink: inode.links,
        size: inode.size() as u64,
        uid: 0,
        gid: 0,
        mode: 0o100_000 | inode.mode,
        is_file: true,
    }
}
