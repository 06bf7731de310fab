//! requests-cache, in a Python process that is told what to do over pipes.

use crate::{Client, Origin, PAGES, Policy, Result};
use std::{
    cell::RefCell,
    env,
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/python.py");

#[derive(Clone)]
pub struct Python {
    pipes: Rc<RefCell<Pipes>>,
    versions: String,
    origin: Arc<Origin>,
}

struct Pipes {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Python {
    pub fn start(folder: &Path, origin: &Arc<Origin>) -> Result<Self> {
        let program = env::var_os("LARDER_REQUESTS_CACHE").ok_or(
            "LARDER_REQUESTS_CACHE is not set: give it a python that has requests-cache 1.3.3 (`./test` makes one, \
             target/requests-cache/bin/python), or leave it out with --no-python",
        )?;
        let mut child = Command::new(&program)
            .arg(SCRIPT)
            .arg(folder)
            .arg(PAGES.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|err| format!("{}, from LARDER_REQUESTS_CACHE: {err}", program.display()))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("Python has no output")?).lines();
        let mut pipes = Pipes { child, input, output };
        let versions = pipes.ask("versions")?;
        Ok(Self { pipes: Rc::new(RefCell::new(pipes)), versions, origin: origin.clone() })
    }

    pub fn versions(&self) -> &str {
        &self.versions
    }

    pub fn open(&self, backend: &str, policy: Policy) -> Result<Box<dyn Client>> {
        let name = format!("{backend}-{}", policy.name());
        let cache_control = policy != Policy::Plain;
        let prefix = self.origin.prefix(policy);
        self.pipes.borrow_mut().ask(&format!("open {name} {backend} {cache_control} {prefix}"))?;
        Ok(Box::new(Session { pipes: self.pipes.clone(), name }))
    }
}

impl Pipes {
    fn ask(&mut self, question: &str) -> Result<String> {
        let input = self.input.as_mut().ok_or("Python has no input")?;
        // When it has failed, the pipe may be closed already: its last line says why.
        let asked = writeln!(input, "{question}");
        let answer = self.output.next().ok_or("Python has ended; what it said is above")??;
        asked?;
        Ok(answer)
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        // The end of its input is the end of the script.
        self.input = None;
        let _ = self.child.wait();
    }
}

struct Session {
    pipes: Rc<RefCell<Pipes>>,
    name: String,
}

impl Client for Session {
    fn body(&mut self, page: usize) -> Result<Vec<u8>> {
        let hex = self.pipes.borrow_mut().ask(&format!("body {} {page}", self.name))?;
        let byte =
            |at: usize| -> Result<u8> { Ok(u8::from_str_radix(hex.get(at..at + 2).ok_or("these are no bytes")?, 16)?) };
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    fn hits(&mut self, first: usize, count: usize) -> Result<Duration> {
        let nanos = self.pipes.borrow_mut().ask(&format!("hits {} {first} {count}", self.name))?;
        Ok(Duration::from_nanos(nanos.parse()?))
    }
}
