//! Processes of a test: this test binary, started again with a task in its environment.

use std::{
    env,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const TASK: &str = "LARDER_TORTURE_TASK";

/// Starts a test of this binary in a process of its own, with a task.
pub(crate) fn start(test: &str, task: &str) -> Child {
    command(test, task).stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a process")
}

/// What starts it, in one thread.
pub(crate) fn command(test: &str, task: &str) -> Command {
    command_of(&env::current_exe().expect("the path of this program"), test, task)
}

/// The same with a copy of this binary.
pub(crate) fn command_of(program: &Path, test: &str, task: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(TASK, task);
    command
}

/// The task of this process; `None` in the process that runs all tests.
pub(crate) fn task() -> Option<String> {
    env::var(TASK).ok()
}

/// Ends a process at once.
pub(crate) fn kill(mut child: Child, cache: &Path) {
    if let Some(status) = child.try_wait().expect("the state of a process") {
        panic!("a worker on {} ended by itself: {status}; its message is above", cache.display());
    }
    child.kill().expect("a kill");
    child.wait().expect("the end of a process");
}

/// Waits until a process has ended, in order.
pub(crate) fn join(mut child: Child, what: &str) {
    let status = child.wait().expect("the end of a process");
    assert!(status.success(), "{what}: {status}; its message is above");
}

/// Waits for something that another process does.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(60), "waiting for this was in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A number from the environment.
pub(crate) fn setting(name: &str, everyday: u64) -> u64 {
    env::var(name).map_or(everyday, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value}")))
}
