#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder::log::fuzz::open_bytes(data));
