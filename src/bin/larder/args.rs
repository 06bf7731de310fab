//! What can be said on the command line.

use crate::span::{When, when};
use clap::{Parser, Subcommand, ValueEnum, builder::styling::Styles};
use clap_complete::Shell;
use larder::Expire;
use std::{path::PathBuf, time::Duration};

const EXAMPLES: &str = "\
Examples:
  larder get https://api.example.com/users         fetch, or answer from the cache
  larder ls cache.larder '*.example.com/'          list what is stored
  larder stat cache.larder                         counts and sizes
  larder copy http_cache.sqlite cache.larder       take over the cache of a Python program

A PLACE is a path (a log or an SQLite file, seen by its first bytes), log:PATH, sqlite:PATH,
redis://HOST:PORT/DB#NAME or mongodb://HOST:PORT#NAME. Caches of Python's requests-cache are
recognised.

Exit codes:
  0   done; also if the reader of the output has gone away
  1   failed: the network, the disk, a server, a damaged file
  2   the command line or the settings are wrong
  3   what was asked for is not in the cache
  4   check found damage, or a copy differs from its source
  22  the answer of `get --fail` has a status of 400 or above";

/// Looks at HTTP caches, changes and copies them, and fetches through them.
#[derive(Debug, Parser)]
#[command(name = "larder", version, after_help = EXAMPLES, max_term_width = 100, styles = Styles::plain())]
pub(crate) struct Args {
    /// Write JSON: one object, or one object a line for lists
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Get(Box<Get>),
    Ls(Ls),
    Show(Show),
    Stat(Stat),
    Rm(Rm),
    Expire(ExpireArgs),
    Clear(Clear),
    Compact(Compact),
    Check(Check),
    Repair(Repair),
    Copy(Copy),
    Completions(Completions),
    /// Print the manual page, in roff
    #[command(after_help = "Example:\n  larder man > larder.1 && man ./larder.1")]
    Man,
}

/// Fetch a URL, or answer from the cache
#[expect(clippy::struct_excessive_bools, reason = "each is a switch")]
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder get https://api.example.com/users -H 'Accept: application/json'
  larder get https://api.example.com/search -d '{\"q\": 1}' -H 'Content-Type: application/json'
  larder get https://example.org/big.zip -o big.zip
  larder get --offline https://api.example.com/users   never touch the network

The settings are those of the command line, then of the environment, then of the file: --config,
else larder.toml in the working directory, else larder/config.toml in the user's configuration folder:
  cache = \"cache.larder\"        # the place
  expire_after = \"1h\"
  allowable_codes = [200, 404]
  allowable_methods = [\"GET\", \"POST\"]
  timeout = \"30s\"
  cache_control = true            # HTTP's own rules; also always_revalidate = true
  stale_if_error = \"1d\"
  match_headers = [\"Accept-Language\"]
  ignored_parameters = [\"utm_source\"]
  [headers]
  User-Agent = \"me\"
  [urls]                          # the first pattern that fits
  \"*.example.com/static/**\" = \"never\"
  \"*\" = \"1d\"")]
pub(crate) struct Get {
    /// The URL
    pub(crate) url: String,
    /// The method; POST if there is data, else GET
    #[arg(short = 'X', long)]
    pub(crate) method: Option<String>,
    /// A header to send, as `Name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub(crate) headers: Vec<String>,
    /// The body to send; @FILE reads it from a file, @- from the standard input
    #[arg(short, long)]
    pub(crate) data: Option<String>,
    /// A query parameter, as `name=value`; may be repeated
    #[arg(short = 'q', long = "query", value_name = "NAME=VALUE")]
    pub(crate) query: Vec<String>,
    /// User and password for Basic authentication
    #[arg(short, long, value_name = "USER:PASSWORD")]
    pub(crate) user: Option<String>,
    /// Write the body to this file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Show status and headers before the body
    #[arg(short, long)]
    pub(crate) include: bool,
    /// Ask with HEAD and show status and headers
    #[arg(short = 'I', long)]
    pub(crate) head: bool,
    /// Write no body if the status is 400 or above, and exit with 22
    #[arg(short, long)]
    pub(crate) fail: bool,
    /// Tell on the standard error where the answer came from
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Answer from what is stored, expired or not, and never touch the network
    #[arg(long)]
    pub(crate) offline: bool,
    /// Fetch anew and replace what is stored
    #[arg(long)]
    pub(crate) refresh: bool,
    /// Answer from the cache or not at all
    #[arg(long)]
    pub(crate) only_if_cached: bool,
    /// Keep the cache out of it
    #[arg(long)]
    pub(crate) no_store: bool,
    /// How many redirects to follow; with 0 the redirect is the answer
    #[arg(long, value_name = "N")]
    pub(crate) redirects: Option<usize>,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// What the file and the environment can say as well.
#[derive(Debug, clap::Args)]
pub(crate) struct SettingsArgs {
    /// The place of the cache; in the user's cache folder unless given
    #[arg(short, long, env = "LARDER_CACHE", value_name = "PLACE")]
    pub(crate) cache: Option<String>,
    /// The kind of the cache, where the place does not say: log, memory, sqlite, redis, mongodb
    #[arg(long, env = "LARDER_BACKEND")]
    pub(crate) backend: Option<String>,
    /// When what is stored now expires: 30s, 15m, 12h, 7d, 2w, never, immediately, or a date
    #[arg(long, env = "LARDER_EXPIRE_AFTER", value_name = "WHEN", value_parser = when)]
    pub(crate) expire_after: Option<When>,
    /// How long the request may take
    #[arg(long, env = "LARDER_TIMEOUT", value_name = "SPAN", value_parser = crate::span::span)]
    pub(crate) timeout: Option<Duration>,
    /// The file with settings
    #[arg(long, env = "LARDER_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// List what is stored
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder ls cache.larder
  larder ls cache.larder '*.example.com/v1/' --sort size --reverse --limit 10
  larder ls --json cache.larder | jq -r .url

A pattern is a glob of the URL behind its scheme: `*` stands for any text, slashes too (`**` is the same),
`?` for one character, `[ab]` for one of these, `{a,b}` for one of those. It may name a scheme. What it
begins, it matches to the end: `example.com/` is all of that host, `example.com` also example.com.au.
Behind `regex:` stands a regular expression, searched for in the whole URL. The patterns of the settings
(`[urls]`) mean the same.")]
pub(crate) struct Ls {
    /// The cache
    pub(crate) place: String,
    /// Only URLs that match
    pub(crate) pattern: Option<String>,
    /// Sort by this
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sort: Sort,
    /// In reverse order
    #[arg(short, long)]
    pub(crate) reverse: bool,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    #[default]
    Url,
    Created,
    Expires,
    Size,
    Status,
    Key,
}

/// Which responses.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Filter {
    /// Only those that are expired
    #[arg(long, conflicts_with = "fresh")]
    pub(crate) expired: bool,
    /// Only those that are not
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Only those with this status; may be repeated
    #[arg(long, value_name = "CODE")]
    pub(crate) status: Vec<u16>,
    /// Only answers to this method
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// Only those that were received longer ago
    #[arg(long, value_name = "SPAN", value_parser = crate::span::span)]
    pub(crate) older_than: Option<Duration>,
}

/// Show one response
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder show cache.larder https://api.example.com/users
  larder show --body cache.larder https://example.org/logo.png > logo.png")]
pub(crate) struct Show {
    /// The cache
    pub(crate) place: String,
    /// The key as `ls --json` shows it, or the URL of a GET
    pub(crate) key: String,
    /// Only the body, as it is
    #[arg(long, conflicts_with = "head")]
    pub(crate) body: bool,
    /// Everything but the body
    #[arg(long)]
    pub(crate) head: bool,
}

/// Counts and sizes
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder stat --json cache.larder")]
pub(crate) struct Stat {
    /// The cache
    pub(crate) place: String,
}

/// Delete responses, with the redirects that lead to them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder rm cache.larder https://api.example.com/users
  larder rm cache.larder --glob '*.example.com/v1/' --older-than 7d
  larder rm --dry-run cache.larder --glob '*' --status 404")]
pub(crate) struct Rm {
    /// The cache
    pub(crate) place: String,
    /// Keys, or URLs: all responses to them, whatever the method
    pub(crate) keys: Vec<String>,
    /// All whose URLs match; see `larder ls --help`
    #[arg(long, value_name = "PATTERN", conflicts_with = "keys", required_unless_present = "keys")]
    pub(crate) glob: Option<String>,
    /// Only say what would be deleted
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// Delete what is expired, or set when responses expire
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder expire cache.larder                  delete what is expired
  larder expire cache.larder --set 7d         let everything expire in a week
  larder expire cache.larder --set never --glob '*.example.com/static/'")]
pub(crate) struct ExpireArgs {
    /// The cache
    pub(crate) place: String,
    /// Let responses expire then, counted from now, and delete none
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub(crate) set: Option<When>,
    /// Only those whose URLs match
    #[arg(long, value_name = "PATTERN", requires = "set")]
    pub(crate) glob: Option<String>,
}

/// Delete everything
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder clear --yes cache.larder")]
pub(crate) struct Clear {
    /// The cache
    pub(crate) place: String,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Give back the space of what was deleted or replaced
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder compact cache.larder")]
pub(crate) struct Compact {
    /// The cache
    pub(crate) place: String,
}

/// Read everything, and say what is damaged
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  larder check cache.larder || larder repair cache.larder repaired.larder")]
pub(crate) struct Check {
    /// The cache
    pub(crate) place: String,
}

/// Save what is sound in a damaged log into a new one
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder repair cache.larder repaired.larder")]
pub(crate) struct Repair {
    /// The damaged log; it is left as it is
    pub(crate) from: PathBuf,
    /// The new one, which must not exist
    pub(crate) to: PathBuf,
}

/// Copy a cache into another, whatever stores they are in
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder copy cache.larder sqlite:cache.sqlite
  larder copy http_cache.sqlite cache.larder           from Python's requests-cache
  larder copy cache.larder redis://127.0.0.1:6379/0#cache
  larder copy --requests-cache cache.larder sqlite:http_cache.sqlite

What is there already and the same is left alone, so that a copy that was interrupted goes on where it
was. In the end everything is read once more on both sides, and counts and checksums are compared.")]
pub(crate) struct Copy {
    /// The cache to copy; it is only read
    pub(crate) from: String,
    /// The cache to copy into; it is made if there is none
    pub(crate) to: String,
    /// Write documents for Python's requests-cache (serializer='json'), in SQLite or Redis
    #[arg(long)]
    pub(crate) requests_cache: bool,
    /// Do not compare afterwards
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Show no progress
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder completions bash > ~/.local/share/bash-completion/completions/larder
  larder completions zsh > ~/.zfunc/_larder
  larder completions fish > ~/.config/fish/completions/larder.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

impl SettingsArgs {
    pub(crate) fn expire(&self) -> Option<Expire> {
        self.expire_after.map(|When(expire)| expire)
    }
}
