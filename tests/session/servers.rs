//! Servers that fail: requests go on, the failure is reported, and the cache is back when its server is.
//!
//! Each test starts a server of its own, on a port and in a folder of its own.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use larder::{CachedSession, ErrorKind};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{Origin, Reply};

/// No request may come near this, whatever the machine does beside.
const HANGS: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
enum Kind {
    #[cfg(feature = "redis")]
    Redis,
    #[cfg(feature = "mongodb")]
    Mongo,
}

/// A server that can be killed, paused and started again.
struct Server {
    kind: Kind,
    port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    fn start(kind: Kind, arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { kind, port, folder: tempfile::tempdir().unwrap(), arguments, child: None };
        server.start_again();
        server
    }

    fn start_again(&mut self) {
        let mut command = Command::new(self.program());
        let (port, folder) = (self.port.to_string(), self.folder.path());
        match self.kind {
            #[cfg(feature = "redis")]
            Kind::Redis => command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder),
            #[cfg(feature = "mongodb")]
            Kind::Mongo => command
                .args(["--port", &port, "--bind_ip", "127.0.0.1", "--nounixsocket", "--dbpath"])
                .arg(folder)
                .args(["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"]),
        };
        let log = fs::File::create(folder.join("log")).unwrap();
        let child = command.args(&self.arguments).stdout(log).stderr(Stdio::null()).spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{}: {error}", self.program().display())));
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(started.elapsed() < HANGS, "{}", fs::read_to_string(folder.join("log")).unwrap_or_default());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn program(&self) -> PathBuf {
        let variable = match self.kind {
            #[cfg(feature = "redis")]
            Kind::Redis => "LARDER_REDIS_SERVER",
            #[cfg(feature = "mongodb")]
            Kind::Mongo => "LARDER_MONGOD",
        };
        let path = std::env::var_os(variable);
        path.unwrap_or_else(|| panic!("{variable} is not set; run ./test, which knows where the program is")).into()
    }

    fn address(&self) -> String {
        self.address_with("")
    }

    /// With user and password, and an at sign.
    fn address_with(&self, login: &str) -> String {
        match self.kind {
            #[cfg(feature = "redis")]
            Kind::Redis => format!("redis://{login}127.0.0.1:{}/0", self.port),
            #[cfg(feature = "mongodb")]
            Kind::Mongo => format!("mongodb://{login}127.0.0.1:{}/?directConnection=true", self.port),
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A stopped process is killed as well.
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A session, its origin, and the failures that it was told of.
struct Caller {
    origin: Arc<Origin>,
    session: CachedSession,
    told: Arc<Mutex<Vec<ErrorKind>>>,
}

impl Caller {
    fn new(address: &str) -> Self {
        Self::patient(address, Duration::from_secs(1))
    }

    fn patient(address: &str, limit: Duration) -> Self {
        let origin = Origin::start();
        origin.route("/a", Reply::ok("x"));
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let session = CachedSession::builder("failing")
            .backend(address.parse().unwrap())
            .store_timeout(limit)
            .on_store_error(move |error| heard.lock().unwrap().push(error.kind()))
            .build()
            .unwrap();
        Self { origin: Arc::new(origin), session, told }
    }

    /// Whether the answer came from the cache. It comes, whatever the server does.
    fn ask(&self) -> bool {
        let (sender, receiver) = mpsc::channel();
        let (session, url) = (self.session.clone(), self.origin.url("/a"));
        thread::spawn(move || {
            let response = session.get(url).send().unwrap();
            assert_eq!(response.text().unwrap(), "x");
            sender.send(response.from_cache()).unwrap();
        });
        receiver.recv_timeout(HANGS).expect("the request hangs, or has failed")
    }

    /// Asks until the cache answers again.
    fn ask_until_back(&self) {
        let started = Instant::now();
        while !self.ask() {
            assert!(started.elapsed() < HANGS, "the cache does not come back: {:?}", self.told());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn told(&self) -> Vec<ErrorKind> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    fn works(&self) {
        self.ask();
        assert!(self.ask());
        assert_eq!(self.told(), []);
    }

    fn fails(&self) -> Vec<ErrorKind> {
        let asked = self.origin.hits("/a");
        for n in 1..=3 {
            assert!(!self.ask());
            assert_eq!(self.origin.hits("/a"), asked + n);
        }
        assert!(self.session.cache().stats().map_or(true, |stats| stats.errors > 0));
        let told = self.told();
        assert!(!told.is_empty(), "nobody was told of the failure");
        told
    }
}

fn survives_a_kill(kind: Kind) {
    let mut server = Server::start(kind, &[]);
    let caller = Caller::new(&server.address());
    caller.works();
    server.kill();
    caller.fails();
    server.start_again();
    caller.ask_until_back();
}

fn survives_a_pause(kind: Kind) {
    let server = Server::start(kind, &[]);
    let caller = Caller::new(&server.address());
    caller.works();
    server.signal(Signal::STOP);
    assert!(caller.fails().contains(&ErrorKind::Timeout));
    server.signal(Signal::CONT);
    caller.ask_until_back();
}

/// A restart between two requests, which leaves the session with connections that are none.
fn survives_a_restart(kind: Kind) {
    let mut server = Server::start(kind, &[]);
    let caller = Caller::new(&server.address());
    for _ in 0..3 {
        caller.works();
        server.kill();
        server.start_again();
        caller.ask_until_back();
        caller.told();
    }
}

/// A server that is not there when the session is built.
fn is_used_once_it_is_there(kind: Kind) {
    let mut server = Server::start(kind, &[]);
    server.kill();
    let caller = Caller::new(&server.address());
    caller.fails();
    server.start_again();
    caller.ask_until_back();
}

#[cfg(feature = "redis")]
mod redis {
    use larder::{CachedSession, ErrorKind};

    use super::{Caller, Kind, Server};

    #[test]
    #[ignore = "needs redis-server; run by ./test"]
    fn requests_go_on_when_it_is_killed() {
        super::survives_a_kill(Kind::Redis);
    }

    #[test]
    #[ignore = "needs redis-server; run by ./test"]
    fn requests_go_on_while_it_is_paused() {
        super::survives_a_pause(Kind::Redis);
    }

    #[test]
    #[ignore = "needs redis-server; run by ./test"]
    fn nobody_notices_a_restart() {
        super::survives_a_restart(Kind::Redis);
    }

    #[test]
    #[ignore = "needs redis-server; run by ./test"]
    fn it_may_come_later() {
        super::is_used_once_it_is_there(Kind::Redis);
    }

    #[test]
    #[ignore = "needs redis-server; run by ./test"]
    fn requests_go_on_when_it_refuses_authentication() {
        let server = Server::start(Kind::Redis, &["--requirepass", "secret"]);
        for login in ["", ":wrong@", "nobody:wrong@"] {
            let caller = Caller::new(&server.address_with(login));
            assert!(caller.fails().iter().all(|kind| *kind == ErrorKind::Store), "{login}");
        }
        Caller::new(&server.address_with(":secret@")).works();
        let strict = CachedSession::builder("failing").backend(server.address_with(":wrong@").parse().unwrap());
        let error = strict.strict(true).build().unwrap().get("http://127.0.0.1:1/").send().unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("refuses access") && !text.contains("wrong"), "{text}");
    }

    #[test]
    #[ignore = "needs redis-server; run by ./test"]
    fn requests_go_on_when_it_is_full() {
        let server = Server::start(Kind::Redis, &["--maxmemory-policy", "noeviction"]);
        let caller = Caller::new(&server.address());
        let set = |bytes: &str| {
            let mut link = ::redis::Client::open(server.address()).unwrap().get_connection().unwrap();
            ::redis::cmd("CONFIG").arg(&["SET", "maxmemory", bytes]).exec(&mut link).unwrap();
        };
        set("1");
        assert!(caller.fails().contains(&ErrorKind::Full));
        assert_eq!(caller.session.cache().len().unwrap(), 0, "nothing of a batch is stored");
        set("0");
        caller.works();
        set("1");
        assert!(caller.ask(), "what is stored is served");
        assert!(caller.session.cache().delete_url(caller.origin.url("/a")).unwrap(), "deleting takes no memory");
    }
}

#[cfg(feature = "mongodb")]
mod mongodb {
    use std::time::Duration;

    use larder::ErrorKind;

    use super::{Caller, Kind, Server};

    #[test]
    #[ignore = "needs mongod; run by ./test"]
    fn requests_go_on_when_it_is_killed() {
        super::survives_a_kill(Kind::Mongo);
    }

    #[test]
    #[ignore = "needs mongod; run by ./test"]
    fn requests_go_on_while_it_is_paused() {
        super::survives_a_pause(Kind::Mongo);
    }

    #[test]
    #[ignore = "needs mongod; run by ./test"]
    fn nobody_notices_a_restart() {
        super::survives_a_restart(Kind::Mongo);
    }

    #[test]
    #[ignore = "needs mongod; run by ./test"]
    fn it_may_come_later() {
        super::is_used_once_it_is_there(Kind::Mongo);
    }

    #[test]
    #[ignore = "needs mongod; run by ./test"]
    fn requests_go_on_when_it_refuses_authentication() {
        let server = Server::start(Kind::Mongo, &["--auth"]);
        for login in ["", "nobody:wrong@"] {
            // Passwords are compared slowly, on purpose.
            let caller = Caller::patient(&server.address_with(login), Duration::from_secs(20));
            assert!(caller.fails().iter().all(|kind| *kind == ErrorKind::Store), "{login}");
        }
    }

    #[test]
    #[ignore = "needs mongod; run by ./test"]
    fn a_session_works_in_an_async_runtime() {
        let server = Server::start(Kind::Mongo, &[]);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            // On a thread of the runtime, which it blocks: no panic, and the session is dropped there too.
            let caller = Caller::new(&server.address());
            caller.works();
            let (session, url) = (caller.session.clone(), caller.origin.url("/a"));
            assert!(session.get(&url).send().unwrap().from_cache());
            // Where blocking is allowed, as it should be.
            let hit = tokio::task::spawn_blocking(move || session.get(url).send().unwrap().from_cache()).await;
            assert!(hit.unwrap());
            drop(caller);
        });
    }
}
