//! Long writes are on their way to the medium while the next ones are copied, so that the sync after them is short.

use std::{fs::File, io};

/// Begins to write out a stretch of a file. It does not wait for the transfer, though perhaps for room in the queue.
///
/// After an error the system may have dropped what it could not write, and have told nobody else: no promise may be
/// made about the file any more, as after a sync that fails.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a system call that no safe crate offers; the argument is below")]
pub(super) fn start(file: &File, offset: u64, len: usize) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    // Whole pages alone: the last one is still to be written on, and goes with the stretch that follows, or the sync.
    const PAGE: u64 = 4096;
    let down = |at: u64| i64::try_from(at / PAGE * PAGE);
    let (Ok(start), Ok(end)) = (down(offset), down(offset.saturating_add(len as u64))) else { return Ok(()) };
    if start >= end {
        // No bytes would mean all of them.
        return Ok(());
    }
    // SAFETY: the call takes four numbers and touches no memory of this process; the descriptor is open, as its file
    // is borrowed. It changes neither the contents of the file nor anything that is known of it. Without the two flags
    // that wait, it also takes note of no earlier error, which a later sync would then not report.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), start, end - start, libc::SYNC_FILE_RANGE_WRITE) };
    if done == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // There is no such call for this file, or here.
        error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::ESPIPE | libc::EPERM)) => {
            Ok(())
        }
        error => Err(error),
    }
}

/// Elsewhere the sync does it all.
#[cfg(not(target_os = "linux"))]
pub(super) fn start(_file: &File, _offset: u64, _len: usize) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::start;
    use std::io::{Read, Seek, Write};

    #[test]
    fn it_changes_nothing_and_takes_any_stretch() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        for (offset, len) in [(0, 10_000), (5000, 1), (0, 0), (1 << 40, 10_000), (u64::MAX, usize::MAX)] {
            start(&file, offset, len).unwrap();
        }
        file.rewind().unwrap();
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert_eq!(read, [7; 10_000]);
        file.sync_data().unwrap();
        // What cannot be written back is no error.
        start(&std::fs::File::open("/dev/null").unwrap(), 0, 10_000).unwrap();
    }
}
