//! Long writes are on their way to the medium while the next ones are copied, so that the sync after them is short.

use std::fs::File;

/// Begins to write out a stretch of a file, and waits for nothing. An error is none here: the pages stay as they are,
/// and the sync that makes a promise about them meets it again.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a system call that no safe crate offers; the argument is below")]
pub(super) fn start(file: &File, offset: u64, len: usize) {
    use std::os::fd::AsRawFd;

    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
    // SAFETY: the call takes four numbers and touches no memory of this process; the descriptor is open, as its file
    // is borrowed. It changes neither the contents of the file nor anything that is known of it. Without the two flags
    // that wait, it also takes note of no earlier error, which a later sync would then not report.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Elsewhere the sync does it all.
#[cfg(not(target_os = "linux"))]
pub(super) fn start(_file: &File, _offset: u64, _len: usize) {}

#[cfg(test)]
mod tests {
    use super::start;
    use std::io::{Read, Seek, Write};

    #[test]
    fn it_changes_nothing_and_takes_any_stretch() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        for (offset, len) in [(0, 10_000), (5000, 1), (0, 0), (1 << 40, 10), (u64::MAX, usize::MAX)] {
            start(&file, offset, len);
        }
        file.rewind().unwrap();
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert_eq!(read, [7; 10_000]);
        file.sync_data().unwrap();
    }
}
