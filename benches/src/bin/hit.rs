//! What a hit costs: `log.get` with and without the memory tier, a miss, and `session.get(url).send()`, of 10 KiB each.
//!
//! Prints the median over rounds of 1,000 calls. Given the name of a case (`tier`, `file`, `miss`, `session`,
//! `session-file`, `session-memory`) and a number of calls, it does only these, for a profiler.

#[path = "../answered.rs"]
mod answered;

use answered::{BODY, KEYS};
use larder::{
    Backend, CachedSession,
    log::{Log, Options, Times},
};
use std::{env, error::Error, hint::black_box, time::Instant};

const ROUND: u32 = 1000;
const ROUNDS: usize = 201;
const CASES: [&str; 6] = ["tier", "file", "miss", "session", "session-file", "session-memory"];

type Call = Box<dyn Fn(usize)>;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let folder = env::temp_dir().join(format!("larder-hit-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let run = || -> Result<(), Box<dyn Error>> {
        if let [case, calls] = &args[..] {
            let call = case_of(&folder, case)?;
            (0..calls.parse()?).for_each(|n| call(n % KEYS));
            return Ok(());
        }
        for case in CASES {
            println!("{case:14} {:6.0} ns", median(&*case_of(&folder, case)?));
        }
        Ok(())
    };
    let result = run();
    std::fs::remove_dir_all(&folder)?;
    result
}

fn median(call: &dyn Fn(usize)) -> f64 {
    let round = |_| {
        let started = Instant::now();
        (0..ROUND as usize).for_each(|n| call(n % KEYS));
        started.elapsed().as_secs_f64() * 1e9 / f64::from(ROUND)
    };
    let mut rounds: Vec<f64> = (0..ROUNDS).map(round).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn case_of(folder: &std::path::Path, case: &str) -> Result<Call, Box<dyn Error>> {
    let tier = if case.ends_with("file") { 0 } else { 32 << 20 };
    if case.starts_with("session") {
        let backend = if case == "session-memory" { Backend::Memory } else { Backend::Log };
        let builder = CachedSession::builder(case).backend(backend).location(folder).fast_save(true).memory_tier(tier);
        let (session, urls) = (answered::session(builder)?, answered::urls());
        for url in &urls {
            session.get(url).send()?;
        }
        return Ok(Box::new(move |n| {
            let response = session.get(&urls[n]).send().expect("it is stored");
            assert!(response.from_cache() && response.bytes().len() == BODY);
        }));
    }
    let log = Log::open(folder.join(case), Options::new().fast_save(true).memory_tier(tier))?;
    let key = |n: usize| format!("key of thirty-three bytes {n:07}").into_bytes();
    let keys: Vec<Vec<u8>> = (0..KEYS).map(key).collect();
    if case != "miss" {
        for key in &keys {
            log.put_parts(key, [b'h'; 600], vec![b'x'; BODY], Times::kept(0))?;
        }
    }
    let found = case != "miss";
    Ok(Box::new(move |n| {
        let value = log.get(&keys[n]).expect("it can be read");
        assert_eq!(black_box(value).is_some(), found);
    }))
}
