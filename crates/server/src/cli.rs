//! What may be typed after `tidegate`. Parsing only: what a command does stands in the file of its
//! name under `commands/`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::commands::AuditCommand;

/// Where a packaged Tidegate keeps its configuration.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/tidegate/tidegate.yaml";

/// Tidegate stands between the internet and your API pods: one binary, one YAML file.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, args_conflicts_with_subcommands = true)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Check the configuration and leave, as nginx users expect; the same as `check`
    #[arg(short = 't')]
    test: bool,

    /// The configuration that -t checks
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG, requires = "test")]
    config: PathBuf,

    #[command(subcommand)]
    command: Option<Command>,
}

impl Cli {
    /// The command that was meant: what `-t` stands for is resolved here.
    pub(crate) fn into_command(self) -> Command {
        match self.command {
            Some(command) => command,
            None if self.test => Command::Check(CheckArgs {
                config: self.config,
                effective: false,
                format: Format::Human,
            }),
            None => Self::command()
                .error(clap::error::ErrorKind::MissingSubcommand, "a command is missing")
                .exit(),
        }
    }
}

/// The commands, in the order in which they are met.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start, and serve until SIGTERM
    Run(RunArgs),
    /// Tell everything that is wrong with a configuration; exit code 1 if anything is
    Check(CheckArgs),
    /// Verify, prove, search and export the audit log
    Audit {
        #[command(subcommand)]
        command: Box<AuditCommand>,
    },
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Have a running Tidegate read its configuration again; all or nothing
    Reload(AdminArgs),
    /// List, explain, add and lift bans of a running Tidegate
    Bans {
        #[command(subcommand)]
        command: Box<BansCommand>,
    },
    /// Tell what a running Tidegate recorded
    #[command(subcommand)]
    Report(ReportCommand),
    /// Stop and resume the enforcement of a running Tidegate
    #[command(subcommand)]
    Response(ResponseCommand),
    /// Start in front of a bundled origin, and print what to try
    Demo(DemoArgs),
    /// Try requests on the web application firewall, without a server
    #[command(subcommand)]
    Waf(WafCommand),
    /// Try a response policy on recorded events, without a server
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the version
    Version,
}

/// `tidegate run`
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,

    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// How the process tells what it does, on standard error.
#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// What to tell: a level, or levels by module such as `info,tidegate_proxy=debug`
    #[arg(long, value_name = "FILTER", env = "TIDEGATE_LOG", default_value = "info")]
    pub(crate) log: String,

    /// How to write it; by default text for a terminal and JSON for anything else
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// `tidegate check`
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,

    /// Print the configuration as it takes effect: policies merged, each value with its origin
    #[arg(long, conflicts_with = "format")]
    pub(crate) effective: bool,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Which running Tidegate is asked.
#[derive(Args, Debug)]
pub(crate) struct AdminArgs {
    /// The admin listener of the running Tidegate
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900")]
    pub(crate) admin: SocketAddr,

    /// The token that `admin.token` asks for; an argument can be seen by other users
    #[arg(long, value_name = "TOKEN", env = "TIDEGATE_ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

/// `tidegate bans`
#[derive(Debug, Subcommand)]
pub(crate) enum BansCommand {
    /// Print every ban that was added, one a line: target, measure, end, source, reason
    List(AdminArgs),
    /// Tell what holds for an address, by which bans, and whether it is protected; or the bans of
    /// another target
    Explain {
        /// The address
        #[arg(required_unless_present = "other")]
        address: Option<IpAddr>,
        #[command(flatten)]
        target: OtherTarget,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Ban an address, a network or another target
    Add {
        /// An address, or a network such as 192.0.2.0/24
        #[arg(required_unless_present = "other")]
        network: Option<String>,
        #[command(flatten)]
        target: OtherTarget,
        /// What is done: throttle, tarpit, isolate or block; by default block, and isolate for an
        /// endpoint or a zone
        #[arg(long, value_name = "MEASURE")]
        measure: Option<String>,
        /// For how long, such as 30s, 10m, 2h or 7d; without it until it is lifted
        #[arg(long = "for", value_name = "DURATION")]
        duration: Option<String>,
        /// Why, for whoever reads the list
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// A network wider than an IPv4 /8 or IPv6 /16 is meant
        #[arg(long)]
        wide: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Lift the bans of exactly this address, network or other target, or all of one source
    Lift {
        /// As it was banned
        #[arg(required_unless_present_any = ["other", "source"])]
        network: Option<String>,
        #[command(flatten)]
        target: OtherTarget,
        /// Only bans with this measure
        #[arg(long, value_name = "MEASURE")]
        measure: Option<String>,
        /// Only what this source decided, as `tidegate bans list` names it
        #[arg(long, value_name = "SOURCE")]
        source: Option<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// `tidegate report`
#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Which scopes clients were granted, which they used and where; which each route needs, and
    /// who passed with them
    Scopes {
        /// Only what nobody used: scopes of clients, and scopes that routes need
        #[arg(long)]
        unused: bool,
        /// All that is known, as JSON
        #[arg(long, conflicts_with = "unused")]
        json: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// A target that is no address.
#[derive(Args, Debug, Default)]
#[group(id = "other", multiple = true)]
pub(crate) struct OtherTarget {
    /// Who asks, such as the `sub` of their token; with --provider
    #[arg(long, value_name = "NAME", requires = "provider")]
    pub(crate) subject: Option<String>,
    /// The client that acts, such as a token's `client_id` or the id of an API key; with --provider
    #[arg(long, value_name = "NAME", requires = "provider")]
    pub(crate) client: Option<String>,
    /// The name of the issuer, the file of keys or another provider in the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// The SHA-256 of one token, in hexadecimal
    #[arg(long, value_name = "HEX")]
    pub(crate) token_hash: Option<String>,
    /// Everybody on a route, by its id
    #[arg(long, value_name = "ID")]
    pub(crate) route: Option<String>,
    /// An endpoint of --upstream
    #[arg(long, value_name = "ADDRESS:PORT", requires = "upstream")]
    pub(crate) endpoint: Option<String>,
    /// A zone of --upstream
    #[arg(long, value_name = "NAME", requires = "upstream")]
    pub(crate) zone: Option<String>,
    /// The name of an upstream
    #[arg(long, value_name = "NAME")]
    pub(crate) upstream: Option<String>,
}

/// `tidegate response`
#[derive(Debug, Subcommand)]
pub(crate) enum ResponseCommand {
    /// Turn the panic switch: while it is on, no measure is enforced, and all is still told
    Panic {
        /// What to do
        #[arg(value_enum)]
        turn: PanicTurn,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// What to do with the panic switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PanicTurn {
    /// Stop enforcing
    On,
    /// Enforce again, unless the file `response.panic_file` is there
    Off,
    /// Tell whether it is on, and why
    Status,
}

/// `tidegate demo`
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Where the demo serves
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Where its admin listener serves
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900")]
    pub(crate) admin: SocketAddr,
}

/// `tidegate waf`
#[derive(Debug, Subcommand)]
pub(crate) enum WafCommand {
    /// Run requests through a configuration's firewall, and tell what it finds and why; exit code
    /// 0 if all pass, 1 if one is refused, 2 if they could not be tried
    Test(Box<WafTestArgs>),
}

/// `tidegate waf test`: one request by curl's flags, or those of a file.
#[derive(Args, Debug)]
pub(crate) struct WafTestArgs {
    /// What to ask for: a URL, or a path and query such as `/?id=1`
    #[arg(value_name = "URL", required_unless_present = "file", conflicts_with = "file")]
    pub(crate) url: Option<String>,

    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,

    /// The method; by default GET, or POST with data
    #[arg(short = 'X', long, value_name = "METHOD", conflicts_with = "file")]
    pub(crate) request: Option<String>,

    /// A field such as `Accept: text/html`; `Accept:` leaves out the one that is sent by default
    #[arg(short = 'H', long, value_name = "FIELD", conflicts_with = "file")]
    pub(crate) header: Vec<String>,

    /// A form's data, or `@file`; several are joined by `&`
    #[arg(short, long, value_name = "DATA", conflicts_with = "file")]
    pub(crate) data: Vec<String>,

    /// Data as it is, or `@file`; `@-` is standard input
    #[arg(long, value_name = "DATA", conflicts_with_all = ["data", "file"])]
    pub(crate) data_binary: Option<String>,

    /// A file with one request as it is on the wire
    #[arg(long, value_name = "FILE", group = "file")]
    pub(crate) raw: Option<PathBuf>,

    /// A HAR file, as browsers save it; its responses are inspected, too
    #[arg(long, value_name = "FILE", group = "file")]
    pub(crate) har: Option<PathBuf>,

    /// An access log of ours; bodies and most fields are not in it
    #[arg(long, value_name = "FILE", group = "file")]
    pub(crate) access_log: Option<PathBuf>,

    /// Who asks
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) client: Option<IpAddr>,

    /// How many of the dearest rules to tell
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub(crate) costs: usize,

    /// One JSON object for each request
    #[arg(long)]
    pub(crate) json: bool,
}

/// `tidegate policy`
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Tell what a policy would have done about recorded events, to whom and when; exit code 0 if
    /// nothing, 1 if something, 2 if something could not be read
    Test(PolicyTestArgs),
}

/// `tidegate policy test`
#[derive(Args, Debug)]
pub(crate) struct PolicyTestArgs {
    /// Access logs, or files of a sink in JSON; `-` is standard input
    #[arg(value_name = "EVENTS", required = true)]
    pub(crate) events: Vec<PathBuf>,

    /// The configuration; without `response` in it, the shipped policy is tried
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,

    /// Leave rules in dry-run that are; without it every rule is taken as enforced
    #[arg(long)]
    pub(crate) as_configured: bool,

    /// One JSON object for each decision, and one with the sums
    #[arg(long)]
    pub(crate) json: bool,
}

/// `tidegate completions`
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Human,
    /// For programs
    Json,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line
    Json,
    /// Text, for people
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nginx_users_find_their_test() {
        let typed = Cli::parse_from(["tidegate", "-t", "-c", "edge.yaml"]);
        let Command::Check(check) = typed.into_command() else { panic!("-t checks") };
        assert_eq!(check.config, PathBuf::from("edge.yaml"));
        assert_eq!(check.format, Format::Human);
    }

    #[test]
    fn a_config_without_a_command_is_a_mistake() {
        assert!(Cli::try_parse_from(["tidegate", "-c", "edge.yaml"]).is_err());
    }
}
