//! Files with their checksums made right again, so that a mutation gets past them.

use crate::log::{
    fields::{Fields, crc32, crc32_at},
    layout::{
        EXTENT_LEN, FILE_HEADER_LEN, FLAG_EXTENTS, INDEX_PAGE_HEADER_LEN, LOG_START, PAGE_LEN, RECORD_HEADER_LEN,
        RECORD_MAGIC, SLOT_LEN, SLOT_OFFSETS, align_up,
    },
    record::Kind,
};
use std::collections::HashMap;

/// Where fields stand in a file header, a slot and a record header.
const FILE_ID_AT: usize = 24;
const SLOT_COVERS_AT: usize = 24;
const SLOT_COVERS_CRC_AT: usize = 56;
const RECORD_PREV_AT: usize = 8;
const RECORD_HEAD_CRC_AT: usize = 12;
const RECORD_BODY_CRC_AT: usize = 16;
const RECORD_KIND_AT: usize = 20;

/// What an input may want to keep wrong, as bits of its last byte if its length is no multiple of 8.
const KEEP_FILE_HEADER: u8 = 1;
const KEEP_SLOTS: u8 = 1 << 1;
const KEEP_CHAIN: u8 = 1 << 2;
const KEEP_HEADS: u8 = 1 << 3;
const KEEP_BODIES: u8 = 1 << 4;
const KEEP_PAGES: u8 = 1 << 5;

/// Makes all checksums of a file right, and what names them, but for what the input wants wrong.
pub(super) fn repair(data: &mut [u8]) {
    if data.len() < FILE_HEADER_LEN {
        return;
    }
    let keep = if data.len().is_multiple_of(8) { 0 } else { data.last().copied().unwrap_or(0) };
    if keep & KEEP_FILE_HEADER == 0 {
        let crc = crc32(&[&data[..FILE_HEADER_LEN - 4]]);
        put(data, FILE_HEADER_LEN - 4, crc);
    }
    let mut log = Log { file_id: u64_at(data, FILE_ID_AT), keep, chains: HashMap::new() };
    log.repair_records(data);
    if keep & KEEP_SLOTS == 0 {
        for at in SLOT_OFFSETS {
            log.repair_slot(data, at);
        }
    }
}

struct Log {
    file_id: u64,
    keep: u8,
    /// The checksum to which a record at an offset is chained.
    chains: HashMap<u64, u32>,
}

impl Log {
    /// Goes from record to record, and where there is none on to the next place that looks like one.
    fn repair_records(&mut self, data: &mut [u8]) {
        let mut chain = u32_at(data, FILE_HEADER_LEN - 4);
        let mut at = LOG_START;
        self.chains.insert(at, chain);
        while let Some(start) = index(at).filter(|start| start + RECORD_HEADER_LEN <= data.len()) {
            if !data[start..].starts_with(&RECORD_MAGIC) {
                at += 8;
                continue;
            }
            let len = self.repair_parts(data, start, at);
            if self.keep & KEEP_CHAIN == 0 {
                put(data, start + RECORD_PREV_AT, chain);
            }
            let crc = crc32_at(self.file_id, at, &data[start + 8..start + RECORD_HEADER_LEN]);
            put(data, start + 4, crc);
            chain = crc;
            // A length beyond the file ends a walk there; what follows is looked at all the same.
            at += len.unwrap_or(RECORD_HEADER_LEN as u64);
            self.chains.insert(at, chain);
        }
    }

    /// Makes the checksums over key, head and body right; returns the record's length if it ends within the file.
    fn repair_parts(&self, data: &mut [u8], start: usize, at: u64) -> Option<u64> {
        let mut fields = Fields(&data[start + RECORD_KIND_AT..start + RECORD_HEADER_LEN]);
        let [kind, flags, _, _] = fields.bytes()?;
        let (key_len, head_len, extents, _) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let body_len = fields.u64()?;
        let head = u64::from(key_len) + u64::from(head_len);
        let body = if flags & FLAG_EXTENTS == 0 { body_len } else { u64::from(extents) * EXTENT_LEN as u64 };
        let body_at = start + RECORD_HEADER_LEN + index(head)?;
        let body_end = body_at.checked_add(index(body)?).filter(|end| *end <= data.len())?;
        if self.keep & KEEP_HEADS == 0 {
            let crc = crc32(&[&data[start + RECORD_HEADER_LEN..body_at]]);
            put(data, start + RECORD_HEAD_CRC_AT, crc);
        }
        if kind == Kind::Index.encode() {
            self.repair_pages(data, body_at, body_end);
        } else if self.keep & KEEP_BODIES == 0 {
            let crc = crc32(&[&data[body_at..body_end]]);
            put(data, start + RECORD_BODY_CRC_AT, crc);
        }
        let len = align_up(RECORD_HEADER_LEN as u64 + head + body);
        Some(len).filter(|len| at + len <= data.len() as u64)
    }

    fn repair_pages(&self, data: &mut [u8], from: usize, end: usize) {
        let page = index(PAGE_LEN).unwrap_or(usize::MAX);
        if self.keep & KEEP_PAGES != 0 {
            return;
        }
        let first = from.next_multiple_of(page);
        for at in (first..end).step_by(page).take_while(|at| at + page <= end) {
            if at == first {
                let covers = at + INDEX_PAGE_HEADER_LEN;
                if let Some(chain) = self.chains.get(&u64_at(data, covers)) {
                    put(data, covers + 8, *chain);
                }
            }
            let crc = crc32_at(self.file_id, at as u64, &data[at + 4..at + page]);
            put(data, at, crc);
        }
    }

    fn repair_slot(&self, data: &mut [u8], offset: u64) {
        let Some(at) = index(offset).filter(|at| at + SLOT_LEN <= data.len()) else { return };
        if data[at..at + SLOT_LEN].iter().all(|byte| *byte == 0) {
            return;
        }
        if let Some(chain) = self.chains.get(&u64_at(data, at + SLOT_COVERS_AT)) {
            put(data, at + SLOT_COVERS_CRC_AT, *chain);
        }
        let crc = crc32_at(self.file_id, offset, &data[at..at + SLOT_LEN - 4]);
        put(data, at + SLOT_LEN - 4, crc);
    }
}

fn index(offset: u64) -> Option<usize> {
    usize::try_from(offset).ok()
}

fn put(data: &mut [u8], at: usize, value: u32) {
    data[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn u32_at(data: &[u8], at: usize) -> u32 {
    Fields(&data[at..]).u32().unwrap_or(0)
}

fn u64_at(data: &[u8], at: usize) -> u64 {
    Fields(&data[at..]).u64().unwrap_or(0)
}
