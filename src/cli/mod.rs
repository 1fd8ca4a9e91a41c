//! The command line: one file for each command.
//!
//! Arguments go in; data comes out on stdout and everything else on stderr, with an exit code. A
//! command asks the node of this machine over its control socket, or else the network (`context`,
//! `client`). All commands share the formats of `output`, the codes of `exit` and the logs of
//! `logging`. No command opens a socket of its own, and none knows the protocol.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand};

mod announce;
mod check;
mod client;
mod completions;
mod context;
mod discover;
mod doctor;
mod exit;
mod forget;
mod health;
mod history;
mod import;
mod init;
mod interval;
mod keygen;
mod legacy;
mod logging;
mod man;
mod nodes;
mod output;
mod progress;
mod pull;
mod push;
mod run;
mod schema;
mod signals;
mod status;
mod supervisor;
mod table;
mod time;
mod watch;
mod r#where;
mod who;

#[cfg(test)]
mod tests;

pub use exit::note;

use client::NetworkClient;
use context::Context;
use output::{ColorChoice, Format, Output};

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed
  2   bad usage
  3   nothing found
  64  the configuration can't be used

Environment:
  HEREABOUTS_CONFIG  the configuration file, where --config names none
  HEREABOUTS_LOG     what is logged: debug, or by module info,hereabouts::net=trace
  NO_COLOR           no colour with --color auto";

/// Where are my machines right now, and where were they before?
#[derive(Debug, Parser)]
#[command(name = "hereabouts", version, max_term_width = 100, arg_required_else_help = true, after_help = EXIT_CODES)]
#[command(disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Read this configuration file
    ///
    /// Without it: $HEREABOUTS_CONFIG, ./hereabouts.yaml, /etc/hereabouts/hereabouts.yaml, the
    /// built-in defaults.
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print in this format [default: table on a terminal, plain in a pipe]
    ///
    /// plain is bare values, one a line; json is one object a line, with a stable shape.
    #[arg(short, long, value_name = "FORMAT", global = true, value_enum)]
    output: Option<Format>,
    /// Use colour
    ///
    /// auto: on a terminal, unless NO_COLOR is set.
    #[arg(long, value_name = "WHEN", global = true, value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
    /// Log more to stderr; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Discover(discover::DiscoverArgs),
    Announce(announce::AnnounceArgs),
    Where(r#where::WhereArgs),
    Who(who::WhoArgs),
    Nodes(nodes::NodesArgs),
    History(history::HistoryArgs),
    Watch(watch::WatchArgs),
    Push(push::PushArgs),
    Pull(pull::PullArgs),
    Forget(forget::ForgetArgs),
    Status(status::StatusArgs),
    Health(health::HealthArgs),
    Doctor(doctor::DoctorArgs),
    Init(init::InitArgs),
    Import(import::ImportArgs),
    Check(check::CheckArgs),
    Schema(schema::SchemaArgs),
    Keygen(keygen::KeygenArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Reads the arguments of the process, runs their command and reports how it ended.
///
/// A usage error ends the process here, with code 2; so does `--help`, with code 0.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut output = Output::stdout(cli.global.output, cli.global.color);
    let context = Context::new(cli.global.config.clone(), &NetworkClient);
    let done = cli
        .start_log()
        .and_then(|()| cli.command.run(&cli.global, &context, &mut output));
    // Data that was printed before an error is flushed, too.
    let flushed = output.flush().map_err(anyhow::Error::from);
    done.and_then(|code| flushed.map(|()| code))
        .unwrap_or_else(|error| exit::report(&error))
}

impl Cli {
    fn start_log(&self) -> anyhow::Result<()> {
        match self.command {
            // `run` logs as its configuration says, and starts the log once it has read that.
            Command::Run(_) => Ok(()),
            _ => Ok(logging::start_for_command(&self.global)?),
        }
    }
}

impl Command {
    fn run(
        self,
        global: &Global,
        context: &Context<'_>,
        output: &mut Output<'_>,
    ) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(args) => run::run(&args, global, context),
            Self::Discover(args) => discover::run(&args, context, output),
            Self::Announce(args) => announce::run(&args, context, output),
            Self::Where(args) => r#where::run(&args, context, output),
            Self::Who(args) => who::run(&args, context, output),
            Self::Nodes(args) => nodes::run(args, context, output),
            Self::History(args) => history::run(args, context, output),
            Self::Watch(args) => watch::run(&args, context, output),
            Self::Push(args) => push::run(args, context, output),
            Self::Pull(args) => pull::run(args, context, output),
            Self::Forget(args) => forget::run(args, context, output),
            Self::Status(args) => status::run(&args, context, output),
            Self::Health(args) => health::run(&args, context, output),
            Self::Doctor(args) => doctor::run(&args, context, output),
            Self::Init(args) => init::run(args),
            Self::Import(args) => import::run(&args, context, output),
            Self::Check(args) => check::run(args, global.config.clone()),
            Self::Schema(args) => schema::run(args),
            Self::Keygen(args) => keygen::run(args),
            Self::Completions(args) => completions::run(&args, output),
            Self::Man(args) => man::run(&args, output),
        }
    }
}
