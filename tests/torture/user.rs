//! A process that has the cache open and does what it is told, word by word.

use crate::{again, body, number};
use larder::{
    Error,
    log::{Change, Entry, Log, Options, Times},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead as _, BufReader, Write as _, stdin},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::Duration,
};

/// What stands before each answer, to tell it from the words of the test harness.
const ANSWER: &str = "answer: ";

/// Another process with a handle of its own.
pub(crate) struct User {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl User {
    /// Starts it and waits until it has opened the cache.
    pub(crate) fn open(path: &Path) -> Self {
        let mut command = again::command("user::the_part_of_a_user", &path.display().to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let (input, output) = (child.stdin.take().expect("its input"), child.stdout.take().expect("its output"));
        let mut user = Self { child, input, output: BufReader::new(output) };
        assert_eq!(user.answer(), "open");
        user
    }

    /// Has it do something, and returns its answer: `ok`, a number, `none`, or the kind of an error.
    pub(crate) fn ask(&mut self, words: &str) -> String {
        self.tell(words);
        self.answer()
    }

    pub(crate) fn tell(&mut self, words: &str) {
        writeln!(self.input, "{words}").expect("it listens");
    }

    pub(crate) fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let len = self.output.read_line(&mut line).expect("it answers");
            assert!(len > 0, "the process has ended; its message is above");
            // The harness begins a line of its own before the first answer.
            if let Some(at) = line.find(ANSWER) {
                return line[at + ANSWER.len()..].trim_end().to_owned();
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("a signal");
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing, unless this process was started as a user.
#[test]
fn the_part_of_a_user() {
    let Some(path) = again::task() else { return };
    let log = Log::open(path, Options::new().lock_timeout(Duration::from_secs(20))).expect("the cache opens");
    answer("open");
    let mut line = String::new();
    while stdin().read_line(&mut line).expect("words") > 0 {
        let words: Vec<_> = line.split_whitespace().collect();
        answer(&obey(&log, &words).unwrap_or_else(|error| format!("{:?}", error.kind())));
        line.clear();
    }
}

#[expect(clippy::print_stdout, reason = "the answers are for the test at the other end")]
fn answer(words: &str) {
    println!("{ANSWER}{words}");
}

fn obey(log: &Log, words: &[&str]) -> Result<String, Error> {
    let done = |()| "ok".to_owned();
    let numbered = |word: &str| word.parse().expect("a number");
    Ok(match words {
        ["put", key, at] => done(log.put(key, body(numbered(at)))?),
        ["get", key] => log.get(key)?.map_or("none".into(), |value| {
            number(&value).map_or("what nobody put there".into(), |number| number.to_string())
        }),
        ["len"] => log.len()?.to_string(),
        ["compact"] => done(log.compact()?),
        // Takes the lock, answers, and keeps it until it is spoken to again.
        ["hold", key, at] => {
            let change = |_: Option<Entry>| {
                answer("locked");
                stdin().read_line(&mut String::new()).expect("a word");
                Change::Put { head: Vec::new(), body: body(numbered(at)), times: Times::kept(0) }
            };
            done(log.update(key, change)?)
        }
        _ => panic!("{words:?}"),
    })
}
