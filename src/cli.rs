//! Command line arguments, and the dispatch to the commands.

mod logging;

use std::ffi::OsString;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::logging::LogFormat;
use crate::config::{FingerprintKey, OutputFormat, Override, OverrideSource, Overrides};
use crate::session::credential::Fingerprinter;
use crate::terminal::Look;
use crate::terminal::log;
use crate::{
    admin, attach, check, demo, exit, explain, fingerprint, health, serve, sessions, version,
};
#[cfg(target_os = "linux")]
use crate::{map, probe};

const ABOUT: &str = "A tap in front of a WebSocket gateway: passes everything through, and says of every \
                     session that failed whose fault it was.";

const AFTER: &str = "\
Exit codes: 0 fine, 1 a check or a session failed, 2 usage or configuration error, 70 internal error.

Environment: RUST_LOG sets what is logged on stderr (default wstap=info; wstap=debug shows every \
phase of a session); NO_COLOR=1 turns colours off. Flags override WSTAP_* variables, which override \
the configuration file.";

/// Maximum width of help: wider text is hard to read.
const WIDEST_HELP: usize = 100;

// Help is given as strings: doc comments would show their markup.
#[derive(Debug, Parser)]
#[command(name = "wstap", version, about = ABOUT, long_about = None, after_help = AFTER)]
struct Cli {
    #[arg(
        long,
        global = true,
        value_name = "text|json",
        value_enum,
        hide_possible_values = true,
        help = "How the log on stderr is written: lines of text, or one JSON object in each line [env: \
                WSTAP_LOG_FORMAT] [default: text]"
    )]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(about = "Run the tap")]
    Serve(ServeArgs),
    #[command(
        about = "Put the tap into the path of new connections to a running gateway, for a limited time, \
                 without a restart (docs/attach.md)"
    )]
    Attach(attach::Options),
    #[command(
        about = "Test each step from here to a gateway, and say which fails first and why (docs/probe.md)"
    )]
    #[cfg(target_os = "linux")]
    Probe(probe::Options),
    #[command(
        about = "Show the way from here to a gateway's process, and which part of it is broken (docs/map.md)"
    )]
    #[cfg(target_os = "linux")]
    Map(map::Options),
    #[command(
        about = "Look around: a stand-in gateway, the tap with TLS in front of it, and a scripted set \
                 of good and faulty sessions"
    )]
    Demo(DemoArgs),
    #[command(about = "Validate a configuration: every error with file, line, column and key")]
    Check(CheckArgs),
    #[command(
        about = "Explain a verdict's rule, one session step by step, or a whole file of records"
    )]
    Explain(ExplainArgs),
    #[command(
        about = "Ask a running tap whether it is alive, or with --ready whether it can do its job: exit \
                 code 0 or 1, and one line"
    )]
    Health(HealthArgs),
    #[command(about = "List the open sessions of a running tap, and the last ones that ended")]
    Sessions(SessionsArgs),
    #[command(
        about = "Print the fingerprint that records carry of a secret, without printing the secret"
    )]
    Fingerprint(FingerprintArgs),
    #[command(about = "Print the version, and how the program was built")]
    Version(VersionArgs),
}

/// Flags override the environment, which overrides the file.
#[derive(Debug, Default, Args)]
struct ConfigArgs {
    #[arg(
        long,
        value_name = "FILE",
        help = "The configuration file [env: WSTAP_CONFIG]"
    )]
    config: Option<PathBuf>,
    #[arg(
        long,
        value_name = "ADDR",
        help = "Where to listen, with TLS: host:port; http://host:port is a plain listener, unix:/path \
                a socket, systemd:NAME one that systemd passes; repeatable [env: WSTAP_LISTEN, \
                separated by commas]"
    )]
    listen: Vec<String>,
    #[arg(
        long,
        value_name = "URL",
        help = "Where to forward to: http, https, ws or wss with host and port, or unix:/path [env: \
                WSTAP_GATEWAY]"
    )]
    gateway: Option<String>,
    #[arg(
        long = "allowed-origin",
        visible_alias = "allowed-origins",
        value_name = "ORIGIN",
        help = "An origin whose pages may connect, such as https://claw.example.com; repeatable [env: \
                WSTAP_ALLOWED_ORIGINS, separated by commas]"
    )]
    allowed_origins: Vec<String>,
    #[arg(
        long,
        value_name = "FILE",
        help = "Write every record to this file, as JSON lines; wstap explain reads it [env: \
                WSTAP_RECORDS]"
    )]
    records: Option<String>,
    #[arg(
        long,
        value_name = "DIR",
        help = "Where the development certificate is kept [env: WSTAP_STATE_DIR]"
    )]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[arg(
        long,
        value_name = "ADDR",
        help = "Where to answer about health, metrics and open sessions [env: WSTAP_ADMIN]"
    )]
    admin: Option<String>,
    #[arg(
        long,
        value_name = "line|json|none",
        help = "What to write to stdout for each session: readable lines, its record as JSON, or nothing"
    )]
    output: Option<OutputFormat>,
    #[arg(
        long,
        value_name = "FILE",
        help = "Write the secrets of every TLS session, of both legs, to this file: whoever has it can \
                read a capture of them. There is no environment variable for it"
    )]
    tls_keylog: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[arg(long, help = "Print one JSON object")]
    json: bool,
}

#[derive(Debug, Args)]
struct DemoArgs {
    #[arg(long, help = "Exit after the table")]
    once: bool,
    #[arg(
        long,
        help = "Print the records as JSON lines on stdout; everything else goes to stderr"
    )]
    json: bool,
    #[arg(
        long,
        value_name = "DIR",
        help = "Where the development certificate is kept [env: WSTAP_STATE_DIR]"
    )]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    #[arg(
        value_name = "RULE|SYMPTOM|SESSION-ID|FILE",
        help = "A rule such as gateway.auth.token_mismatch, a class or its beginning (gateway.auth, \
                gateway), a Close code, an HTTP status or an error message, a session's id as a line or a \
                record shows it, a file of records, or - for records on stdin"
    )]
    what: String,
    #[arg(
        long,
        value_name = "FILE",
        help = "The records file in which a session is looked for, with those rotated away from it; - \
                for stdin [env: WSTAP_RECORDS]"
    )]
    records: Option<PathBuf>,
    #[arg(
        long,
        value_name = "FILE",
        help = "Without a records file: the configuration whose records.path is taken [env: \
                WSTAP_CONFIG]"
    )]
    config: Option<PathBuf>,
    #[arg(long, help = "Print one JSON object")]
    json: bool,
}

#[derive(Debug, Args)]
struct HealthArgs {
    #[command(flatten)]
    tap: RunningTapArgs,
    #[arg(
        long,
        help = "Ask for readiness instead of liveness: listeners, certificates, and the gateway"
    )]
    ready: bool,
    #[arg(long, help = "Print one JSON object")]
    json: bool,
}

#[derive(Debug, Args)]
struct SessionsArgs {
    #[command(flatten)]
    tap: RunningTapArgs,
    #[arg(long, help = "Again every second, until Ctrl-C")]
    follow: bool,
    #[arg(long, help = "Print one JSON object, with --follow one a line")]
    json: bool,
}

/// The running tap to ask.
#[derive(Debug, Args)]
struct RunningTapArgs {
    #[arg(
        long,
        value_name = "FILE",
        help = "The tap's configuration, which names its admin listener [env: WSTAP_CONFIG]"
    )]
    config: Option<PathBuf>,
    #[arg(
        long,
        value_name = "ADDR",
        help = "The admin listener itself; without it and a configuration 127.0.0.1:8480 [env: \
                WSTAP_ADMIN]"
    )]
    admin: Option<String>,
    #[arg(
        long,
        value_name = "FILE",
        help = "The token of the admin listener, when the configuration does not name it"
    )]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct FingerprintArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[arg(
        long,
        conflicts_with_all = ["env", "stdin"],
        value_name = "A.B.C",
        help = "The key into a JSON, JSON5 or YAML file, for example gateway.auth.token"
    )]
    key: Option<String>,
    #[arg(
        long,
        value_name = "FILE",
        help = "The key for fingerprints of secrets shorter than 32 characters: the same file as the \
                tap's fingerprint_key_file"
    )]
    fingerprint_key_file: Option<PathBuf>,
    #[arg(long, help = "Print one JSON object")]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SourceArgs {
    #[arg(
        long,
        value_name = "NAME",
        help = "The secret is in this environment variable"
    )]
    env: Option<String>,
    #[arg(long, value_name = "PATH", help = "The secret is in this file")]
    file: Option<PathBuf>,
    #[arg(long, help = "The secret comes on stdin")]
    stdin: bool,
}

#[derive(Debug, Args)]
struct VersionArgs {
    #[arg(long, help = "Print one JSON object")]
    json: bool,
}

/// The parser, with help of at most `width` columns.
fn parser(width: usize) -> clap::Command {
    Cli::command().term_width(width.min(WIDEST_HELP))
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = parser(Look::stdout().page()).try_get_matches_from(args)?;
    Cli::from_arg_matches(&matches)
}

/// Parses the arguments, runs the command and returns the exit code.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match parse(args) {
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
    // Places must be entered while the process has one thread.
    #[cfg(target_os = "linux")]
    let entered = match &cli.command {
        Command::Probe(options) => probe::enter(options).map(|it| (Some(it), None)),
        Command::Map(options) => map::enter(options).map(|it| (None, Some(it))),
        _ => Ok((None, None)),
    };
    #[cfg(target_os = "linux")]
    let (probing, mapping) = match entered {
        Ok(entered) => entered,
        Err(error) => {
            log::say(&format!("wstap: {error}"));
            return exit::USAGE;
        }
    };
    let format = match LogFormat::chosen(cli.log_format) {
        Ok(format) => format,
        Err(error) => {
            log::say(&format!("wstap: {error}"));
            return exit::USAGE;
        }
    };
    let _log = logging::start(format);
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
                Look::stdout(),
                &mut io::stdout().lock(),
            )
        }
        Command::Explain(args) => args.run(),
        Command::Health(args) => health::run(
            &args.tap.options(),
            if args.ready {
                health::Question::Ready
            } else {
                health::Question::Alive
            },
            args.json,
            Look::stdout(),
            &mut io::stdout().lock(),
            &mut io::stderr(),
        ),
        Command::Sessions(args) => sessions::run(
            &args.tap.options(),
            args.json,
            args.follow,
            &mut io::stderr(),
        ),
        Command::Attach(options) => attach::run(&options),
        #[cfg(target_os = "linux")]
        Command::Probe(options) => {
            probing.map_or(exit::INTERNAL, |entered| probe::run(&options, entered))
        }
        #[cfg(target_os = "linux")]
        Command::Map(options) => {
            mapping.map_or(exit::INTERNAL, |entered| map::run(&options, &entered))
        }
        Command::Fingerprint(args) => args.run(),
        Command::Version(args) => version::run(args.json, &mut io::stdout().lock()),
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
            records: one(&self.records, "--records", "WSTAP_RECORDS"),
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
            width: Look::stdout().page(),
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
            without_valid_config: false,
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
        let form = if self.json {
            fingerprint::Form::Json
        } else {
            fingerprint::Form::Text(Look::stdout())
        };
        match fingerprint::run(source, &fingerprinter, form, &mut input, &mut out) {
            Ok(()) => exit::OK,
            Err(error) => usage(&error),
        }
    }
}

fn usage(error: &dyn std::fmt::Display) -> u8 {
    let text = Look::stderr().fit(&format!("wstap: {error}"));
    let _ = writeln!(io::stderr(), "{text}");
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

#[cfg(test)]
mod tests;
