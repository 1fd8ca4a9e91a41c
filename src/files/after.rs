//! The action after a file was replaced: a command, a signal or a webhook.
//!
//! The file is in its place before the action starts, and stays there whatever the action's outcome. A command never
//! runs through a shell, never outlives its limit, and its output never fills the log.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::children;
use super::replacement::Replacement;
use super::webhook::{Webhook, WebhookError};

/// How much output of a command goes to the log, in bytes; the rest is read and dropped.
const MAX_OUTPUT: usize = 16 * 1024;
/// How long output is still read after a command ended, from processes that it left running.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// The action after a replacement.
#[derive(Debug, Clone)]
pub enum After {
    /// Starts a program, without a shell.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
        /// How long the program may run.
        limit: Duration,
    },
    /// Sends a signal to the process that a PID file names.
    Signal { pid_file: PathBuf, signal: Signal },
    /// Posts JSON to a URL.
    Webhook(Webhook),
}

/// Why an action failed. The file is in its place all the same.
#[derive(Debug, thiserror::Error)]
pub enum AfterError {
    #[error("failed to start {program}: {source}")]
    Start {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{program} ended with {status}")]
    Failed {
        program: String,
        status: std::process::ExitStatus,
    },
    #[error("{program} did not end within {} s and was killed", limit.as_secs_f32())]
    TimedOut { program: String, limit: Duration },
    #[error("the webhook {0}")]
    Webhook(#[from] WebhookError),
    #[error("PID file {} can't be used to send a signal: {reason}", pid_file.display())]
    Signal { pid_file: PathBuf, reason: String },
}

impl After {
    /// Runs the action. Output of a command goes to the log.
    pub async fn run(&self, replacement: &Replacement<'_>) -> Result<(), AfterError> {
        match self {
            Self::Exec { command, limit } => exec(command, *limit, replacement).await,
            Self::Webhook(webhook) => Ok(webhook.call(replacement).await?),
            Self::Signal { pid_file, signal } => {
                send(pid_file, *signal).map_err(|reason| AfterError::Signal {
                    pid_file: pid_file.clone(),
                    reason,
                })
            }
        }
    }
}

async fn exec(
    command: &[String],
    limit: Duration,
    replacement: &Replacement<'_>,
) -> Result<(), AfterError> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let program = program.clone();
    tracing::debug!(file = replacement.name, %program, "starting the command after a replacement");
    let mut start = Command::new(&program);
    start
        .args(arguments)
        .env("HEREABOUTS_FILE", replacement.path)
        .env("HEREABOUTS_NAME", replacement.name)
        .env("HEREABOUTS_GENERATION", replacement.generation.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A process group of its own, so that processes that the command starts are killed with it.
        .process_group(0)
        .kill_on_drop(true);
    let (mut child, started) = children::start(&mut start).map_err(|source| AfterError::Start {
        program: program.clone(),
        source,
    })?;
    let group = ProcessGroup::led_by(&child);
    let outputs = [
        ("stdout", Output::of(child.stdout.take())),
        ("stderr", Output::of(child.stderr.take())),
    ];
    let ended = timeout(limit, child.wait()).await;
    if ended.is_ok() {
        group.release();
    } else {
        drop(group);
        // The drop killed the whole group; the leader must still be reaped.
        let _ = child.kill().await;
    }
    drop(started);
    let deadline = Instant::now() + OUTPUT_GRACE;
    for (stream, output) in outputs {
        let output = output.read_until(deadline).await;
        for line in output.lines().filter(|line| !line.trim().is_empty()) {
            tracing::info!(file = replacement.name, %program, stream, "{line}");
        }
    }
    match ended {
        Err(_) => Err(AfterError::TimedOut { program, limit }),
        Ok(Err(source)) => Err(AfterError::Start { program, source }),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(AfterError::Failed { program, status }),
    }
}

/// A command and all processes that it started. Dropping it kills them: the command is late, or the node stops.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn led_by(child: &Child) -> Self {
        Self(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(Pid::from_raw),
        )
    }

    /// Keeps the processes running that a command left behind when it ended by itself.
    fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error means that all processes ended by themselves.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The beginning of an output stream. The stream is read to its end, so that its writer never blocks.
struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Keeps reading after the drop, as another process may still hold the stream and write.
    reader: JoinHandle<()>,
}

impl Output {
    fn of(stream: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let kept = Arc::<Mutex<Vec<u8>>>::default();
        let shared = kept.clone();
        let reader = tokio::spawn(async move {
            let Some(mut stream) = stream else { return };
            let mut block = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut block).await {
                let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MAX_OUTPUT - kept.len();
                kept.extend(block.iter().take(read.min(room)));
            }
        });
        Self { kept, reader }
    }

    /// The output up to the stream's end, or up to a deadline if other processes hold the stream.
    async fn read_until(self, deadline: Instant) -> String {
        // In both cases the bytes that arrived are the result.
        let _ = timeout_at(deadline, self.reader).await;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

fn send(pid_file: &Path, signal: Signal) -> Result<(), String> {
    let text = std::fs::read_to_string(pid_file).map_err(|error| error.to_string())?;
    let number = text.trim().parse::<i32>().ok().filter(|number| *number > 0);
    let pid = number
        .and_then(Pid::from_raw)
        .ok_or("it holds no process id")?;
    let pid_number = pid.as_raw_nonzero();
    tracing::debug!(
        pid = pid_number,
        ?signal,
        "sending the signal after a replacement"
    );
    kill_process(pid, signal)
        .map_err(|error| format!("process {pid_number}: {}", std::io::Error::from(error)))
}
