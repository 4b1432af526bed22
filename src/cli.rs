//! Arguments: what may be typed, and the way to the command.

use std::ffi::OsString;
use std::io::{self, BufReader, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use crate::config::{FingerprintKey, OutputFormat, Override, OverrideSource, Overrides};
use crate::session::credential::Fingerprinter;
use crate::{admin, check, demo, exit, explain, fingerprint, health, serve, sessions};

/// A tap in front of a WebSocket gateway: passes everything through, and says of every session
/// that failed whose fault it was.
#[derive(Debug, Parser)]
#[command(name = "wstap", version, about, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 fine, 1 a check or a session failed, 2 usage or \
                        configuration error, 70 internal error."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the tap.
    Serve(ServeArgs),
    /// Look around: a stand-in gateway, the tap with TLS in front of it, and a scripted set of
    /// good and faulty sessions.
    Demo(DemoArgs),
    /// Validate a configuration: every error with file, line, column and key.
    Check(CheckArgs),
    /// Explain a verdict's rule, one session step by step, or a whole file of records.
    Explain(ExplainArgs),
    /// Ask a running tap whether it can do its job: exit code 0 or 1, and one line.
    Health(HealthArgs),
    /// List the open sessions of a running tap, and the last ones that ended.
    Sessions(SessionsArgs),
    /// Print the fingerprint that records carry of a secret, without printing the secret.
    Fingerprint(FingerprintArgs),
}

/// Flags override the environment, which overrides the file.
#[derive(Debug, Default, Args)]
struct ConfigArgs {
    /// The configuration file [env: `WSTAP_CONFIG`].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen, with TLS; <http://ADDR> for a plain listener, <unix:/path> or systemd:NAME
    /// [env: `WSTAP_LISTEN`, a list separated by commas].
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// What to forward to: http, https, ws, wss or <unix:/path> [env: `WSTAP_GATEWAY`].
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// An origin that browsers may come from [env: `WSTAP_ALLOWED_ORIGINS`, a list separated by
    /// commas].
    #[arg(long = "allowed-origin", value_name = "ORIGIN")]
    allowed_origins: Vec<String>,
    /// Where the development certificate is kept [env: `WSTAP_STATE_DIR`].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where to tell of health, metrics and open sessions [env: `WSTAP_ADMIN`].
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// What to write to stdout: two readable lines a session, its record as JSON, or nothing.
    #[arg(long, value_name = "line|json|none")]
    output: Option<OutputFormat>,
    /// Write the secrets of every TLS session, of both legs, to this file: whoever has it can read
    /// a capture of them. There is no environment variable for it.
    #[arg(long, value_name = "FILE")]
    tls_keylog: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Exit after the table.
    #[arg(long)]
    once: bool,
    /// Print the records as JSON lines on stdout; everything else goes to stderr.
    #[arg(long)]
    json: bool,
    /// Where the development certificate is kept [env: `WSTAP_STATE_DIR`].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// A rule such as `gateway.auth.token_mismatch`, a class or its beginning (`gateway.auth`,
    /// `gateway`), a session's id or its beginning, a file of records, or - for records on stdin.
    #[arg(value_name = "RULE|SESSION-ID|FILE")]
    what: String,
    /// The records file in which a session is looked for, with those rotated away from it; - for
    /// stdin.
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Without --records: the configuration whose records.path is taken [env: `WSTAP_CONFIG`].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct HealthArgs {
    #[command(flatten)]
    tap: RunningTapArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct SessionsArgs {
    #[command(flatten)]
    tap: RunningTapArgs,
    /// Again every second, until Ctrl-C.
    #[arg(long)]
    follow: bool,
    /// Print one JSON object, with --follow one a line.
    #[arg(long)]
    json: bool,
}

/// Which running tap is asked.
#[derive(Debug, Args)]
struct RunningTapArgs {
    /// The tap's configuration, which names its admin listener [env: `WSTAP_CONFIG`].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The admin listener itself; without it the configuration says.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// The token of the admin listener, when the configuration does not name it.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct FingerprintArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The key into a JSON, JSON5 or YAML file, for example gateway.auth.token.
    #[arg(long, conflicts_with_all = ["env", "stdin"], value_name = "A.B.C")]
    key: Option<String>,
    /// The key for fingerprints of secrets shorter than 32 characters; the same file as the
    /// tap's `fingerprint_key_file`.
    #[arg(long, value_name = "FILE")]
    fingerprint_key_file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SourceArgs {
    /// The secret is in this environment variable.
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// The secret is in this file.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The secret comes on stdin.
    #[arg(long)]
    stdin: bool,
}

/// Parses the arguments, runs the command and tells the exit code.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            };
        }
    };
    let _log = start_logging();
    match cli.command {
        Command::Serve(args) => {
            let mut overrides = args.config.overrides();
            overrides.output = args.output;
            overrides.tls_keylog = args.tls_keylog;
            if let Some(admin) = &args.admin {
                overrides.admin = Some(from_flag(admin, "--admin"));
            }
            serve::run(args.config.file().as_deref(), &overrides)
        }
        Command::Demo(args) => {
            let state_dir = args.state_dir.or_else(|| path_from_env("WSTAP_STATE_DIR"));
            demo::run(&demo::Options {
                once: args.once,
                json: args.json,
                state_dir,
            })
        }
        Command::Check(args) => {
            let (file, overrides) = (args.config.file(), args.config.overrides());
            check::run(
                file.as_deref(),
                &overrides,
                args.json,
                &mut io::stdout().lock(),
            )
        }
        Command::Explain(args) => args.run(),
        Command::Health(args) => health::run(
            &args.tap.options(),
            args.json,
            &mut io::stdout().lock(),
            &mut io::stderr(),
        ),
        Command::Sessions(args) => sessions::run(
            &args.tap.options(),
            args.json,
            args.follow,
            &mut io::stderr(),
        ),
        Command::Fingerprint(args) => args.run(),
    }
}

impl ConfigArgs {
    fn file(&self) -> Option<PathBuf> {
        self.config
            .clone()
            .or_else(|| path_from_env("WSTAP_CONFIG"))
    }

    fn overrides(&self) -> Overrides {
        let one = |flag: &Option<String>, name, variable| match flag {
            Some(value) => Some(from_flag(value, name)),
            None => from_env(variable).into_iter().next(),
        };
        let list = |flags: &[String], name, variable| {
            if flags.is_empty() {
                from_env(variable).iter().flat_map(split_list).collect()
            } else {
                flags.iter().map(|value| from_flag(value, name)).collect()
            }
        };
        Overrides {
            listen: list(&self.listen, "--listen", "WSTAP_LISTEN"),
            gateway: one(&self.gateway, "--gateway", "WSTAP_GATEWAY"),
            allowed_origins: list(
                &self.allowed_origins,
                "--allowed-origin",
                "WSTAP_ALLOWED_ORIGINS",
            ),
            admin: from_env("WSTAP_ADMIN"),
            output: None,
            state_dir: self
                .state_dir
                .clone()
                .or_else(|| path_from_env("WSTAP_STATE_DIR")),
            tls_keylog: None,
        }
    }
}

impl ExplainArgs {
    fn run(self) -> u8 {
        // The file may leave to the environment what the tap gets from there.
        let config = ConfigArgs {
            config: self.config,
            ..ConfigArgs::default()
        };
        let options = explain::Options {
            what: self.what,
            records: self.records,
            config: config.file(),
            overrides: config.overrides(),
            json: self.json,
        };
        explain::run(
            &options,
            Box::new(BufReader::new(io::stdin())),
            &mut anstream::stdout(),
            &mut io::stderr(),
        )
    }
}

impl RunningTapArgs {
    fn options(self) -> admin::client::Options {
        // The file may leave to the environment what the tap gets from there.
        let config = ConfigArgs {
            config: self.config,
            ..ConfigArgs::default()
        };
        admin::client::Options {
            admin: self.admin,
            token_file: self.token_file,
            file: config.file(),
            overrides: config.overrides(),
        }
    }
}

impl FingerprintArgs {
    fn run(self) -> u8 {
        let fingerprinter = match &self.fingerprint_key_file {
            None => crate::app::ephemeral_fingerprinter(),
            Some(path) => match FingerprintKey::from_file(path) {
                Ok(key) => Fingerprinter::with_key(key.expose()),
                Err(error) => return usage(&error),
            },
        };
        let source = match (self.source.env, self.source.file) {
            (Some(name), _) => fingerprint::Source::Env(name),
            (None, Some(path)) => fingerprint::Source::File {
                path,
                key: self.key,
            },
            (None, None) => fingerprint::Source::Stdin,
        };
        let (mut input, mut out) = (io::stdin().lock(), io::stdout().lock());
        match fingerprint::run(source, &fingerprinter, self.json, &mut input, &mut out) {
            Ok(()) => exit::OK,
            Err(error) => usage(&error),
        }
    }
}

fn usage(error: &dyn std::fmt::Display) -> u8 {
    let _ = writeln!(io::stderr(), "wstap: {error}");
    exit::USAGE
}

fn from_flag(value: &str, name: &'static str) -> Override {
    Override {
        value: value.to_owned(),
        source: OverrideSource::Flag(name),
    }
}

fn from_env(name: &'static str) -> Option<Override> {
    let value = std::env::var_os(name)?.to_string_lossy().into_owned();
    Some(Override {
        value,
        source: OverrideSource::Env(name),
    })
}

fn split_list(list: &Override) -> Vec<Override> {
    list.value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| Override {
            value: item.to_owned(),
            source: list.source,
        })
        .collect()
}

fn path_from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The program's own log, on stderr: `RUST_LOG`, by default what an operator should know. Written
/// by a thread of its own that drops lines when nobody reads them: a log must not stop traffic.
/// The guard writes out what is left when it is dropped.
fn start_logging() -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking(io::stderr());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("wstap=info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
    guard
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_errors_are_2_and_help_is_0() {
        let code = |args: &[&str]| run(args.iter().map(OsString::from));
        assert_eq!(code(&["wstap", "--help"]), exit::OK);
        assert_eq!(code(&["wstap", "fly"]), exit::USAGE);
        assert_eq!(code(&["wstap", "fingerprint"]), exit::USAGE);
        assert_eq!(
            code(&["wstap", "fingerprint", "--stdin", "--key", "a"]),
            exit::USAGE
        );
    }
}
