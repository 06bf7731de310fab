#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder::log::fuzz::record_decode(data));
