//! What a hit costs in larder and in other caching HTTP clients: the same bodies, from the same origin, in one run.

mod args;
mod http_cache;
mod larder;
mod origin;
mod python;
mod table;
#[path = "../../src/work.rs"]
#[expect(dead_code, reason = "the benchmark of the engine needs more of it")]
mod work;

use args::Args;
use origin::Origin;
use std::{path::Path, sync::Arc, time::Duration};
use table::Line;

pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Responses that each client has in its cache.
const PAGES: usize = 200;

/// Hits that are timed together: so few that most rounds fit into one slice of a processor that others want too.
const HITS: usize = 20;

/// What a client has to decide before it hands out what it has stored.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Policy {
    /// It is not asked to mind the headers of the response.
    Plain,
    /// Whether the response is fresh, by RFC 9111.
    Whole,
    /// And whether the request has the headers that its `Vary` names.
    Vary,
}

impl Policy {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Whole, Self::Vary];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Whole => "whole",
            Self::Vary => "vary",
        }
    }
}

/// A client that has a cache of its own.
pub(crate) trait Client {
    /// The body of one page.
    fn body(&mut self, page: usize) -> Result<Vec<u8>>;

    /// How long so many hits take, of the pages in their order from the given one on.
    fn hits(&mut self, first: usize, count: usize) -> Result<Duration>;
}

/// One client under one policy.
struct Case {
    /// Of the line in the table.
    line: usize,
    policy: Policy,
    client: Box<dyn Client>,
    /// How many are timed together.
    hits: usize,
}

fn main() {
    if let Err(err) = Args::parse(std::env::args().skip(1)).and_then(|args| run(&args)) {
        eprintln!("{err}");
        std::process::exit(1);
    }
}

fn run(args: &Args) -> Result<()> {
    refuse_proxies()?;
    let folder = std::env::temp_dir().join(format!("larder-compare-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let result = compare(args, &folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn compare(args: &Args, folder: &Path) -> Result<()> {
    let origin = Origin::start(PAGES)?;
    if let Some((store, policy)) = args.profile {
        let mut case = Case { line: 0, policy, client: larder::open(store, policy, folder, &origin)?, hits: HITS };
        warm(&mut case, &origin)?;
        println!("{:?} for {} hits", case.client.hits(0, args.rounds * HITS)?, args.rounds * HITS);
        return Ok(());
    }
    let (mut lines, mut cases) = open(args, folder, &origin)?;
    for case in &mut cases {
        warm(case, &origin).map_err(|err| format!("{}: {err}", lines[case.line].name))?;
    }
    for round in 0..args.rounds {
        for case in &mut cases {
            let first = round * case.hits % PAGES;
            let served = origin.served();
            // What the others have pushed out of the processor's caches comes back first.
            case.client.hits(first, case.hits)?;
            let time = case.client.hits(first, case.hits)?;
            if origin.served() != served {
                return Err(format!("{}: the origin was asked, so these are no hits", lines[case.line].name).into());
            }
            lines[case.line].record(case.policy, time, case.hits);
        }
    }
    println!("{}", table::medians(&lines));
    println!("\n{}", table::ratios(&lines));
    Ok(())
}

fn open(args: &Args, folder: &Path, origin: &Arc<Origin>) -> Result<(Vec<Line>, Vec<Case>)> {
    type Open<'a> = Box<dyn Fn(Policy) -> Result<Box<dyn Client>> + 'a>;
    let mut stores: Vec<(String, usize, Open)> = Vec::new();
    for store in larder::Store::ALL {
        let open = move |policy| larder::open(store, policy, folder, origin);
        stores.push((format!("larder, {}", store.label()), HITS, Box::new(open)));
    }
    let open = |policy| http_cache::open(policy, folder, origin);
    stores.push(("http-cache-ureq, redb".into(), HITS, Box::new(open)));
    if args.python {
        let python = python::Python::start(folder, origin)?;
        println!("{}\n", python.versions());
        for backend in ["sqlite", "memory"] {
            let python = python.clone();
            // Few, as each takes about a hundred times as long.
            let open = move |policy| python.open(backend, policy);
            stores.push((format!("requests-cache, {backend}"), HITS / 10, Box::new(open)));
        }
    }
    let (mut lines, mut cases) = (Vec::new(), Vec::new());
    for (line, (name, hits, open)) in stores.into_iter().enumerate() {
        for policy in Policy::ALL {
            cases.push(Case { line, policy, client: open(policy)?, hits });
        }
        lines.push(Line::new(name));
    }
    Ok((lines, cases))
}

/// Fetches every page once, and again from the cache.
fn warm(case: &mut Case, origin: &Origin) -> Result<()> {
    let served = origin.served();
    for page in (0..PAGES).chain(0..PAGES) {
        if case.client.body(page)? != origin.body(page) {
            return Err(format!("page {page} is not what the origin served").into());
        }
    }
    match origin.served() - served {
        PAGES => Ok(()),
        other => Err(format!("{PAGES} pages took {other} requests to the origin").into()),
    }
}

/// The clients ask the environment for proxies, each in its way; what is measured has none.
fn refuse_proxies() -> Result<()> {
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].iter().find(|name| set(name)) {
        None => Ok(()),
        Some(name) => {
            Err(format!("{name} is set, and the origin is in this process: run it under `env -u {name}`").into())
        }
    }
}
