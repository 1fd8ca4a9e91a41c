//! What is done after a file was replaced.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::Digest;
use super::webhook::{Webhook, WebhookError};
use crate::model::{NodeName, Timestamp};

/// Output of a command that goes to the log; the rest is read and dropped.
const OUTPUT: usize = 16 * 1024;
/// How long output may follow after a command ended, from what it left running.
const AFTERGLOW: Duration = Duration::from_millis(200);

/// What is done after a file was replaced.
#[derive(Debug, Clone)]
pub enum After {
    /// A program is started, without a shell.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
        /// How long it may take.
        limit: Duration,
    },
    /// A signal is sent to the process in a PID file.
    Signal {
        /// The PID file.
        pid_file: PathBuf,
        /// The signal.
        signal: Signal,
    },
    /// A URL gets a POST with JSON.
    Webhook(Webhook),
}

/// What took the place of an earlier file.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Taken<'t> {
    /// The file's name on the channel.
    pub name: &'t str,
    /// Its generation; 0 from an old base, which knows none.
    pub generation: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    #[serde(serialize_with = "super::hex::serialize")]
    pub digest: Digest,
    /// The node that took it.
    pub node: &'t NodeName,
    /// Where it lies.
    pub path: &'t Path,
    /// When it was taken.
    pub time: Timestamp,
}

/// Why that failed. The file is in its place all the same.
#[derive(Debug, thiserror::Error)]
pub enum AfterError {
    /// The program could not be started.
    #[error("failed to start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It ended with another code than 0.
    #[error("{program} ended with {status}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// It took too long, and was killed.
    #[error("{program} did not end within {} s and was killed", limit.as_secs_f32())]
    TimedOut {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// The webhook got no answer, or one that says no.
    #[error("the webhook {0}")]
    Webhook(#[from] WebhookError),
    /// The PID file can't be used.
    #[error("can't signal by {}: {reason}", pid_file.display())]
    Signal {
        /// The PID file.
        pid_file: PathBuf,
        /// Why.
        reason: String,
    },
}

impl After {
    /// Does it; what a command prints goes to the log.
    pub async fn run(&self, taken: &Taken<'_>) -> Result<(), AfterError> {
        match self {
            Self::Exec { command, limit } => exec(command, *limit, taken).await,
            Self::Webhook(webhook) => Ok(webhook.call(taken).await?),
            Self::Signal { pid_file, signal } => {
                send(pid_file, *signal).map_err(|reason| AfterError::Signal {
                    pid_file: pid_file.clone(),
                    reason,
                })
            }
        }
    }
}

async fn exec(command: &[String], limit: Duration, taken: &Taken<'_>) -> Result<(), AfterError> {
    let Taken {
        name,
        generation,
        path,
        ..
    } = *taken;
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let program = program.clone();
    let started = Command::new(&program)
        .args(arguments)
        .env("HEREABOUTS_FILE", path)
        .env("HEREABOUTS_NAME", name)
        .env("HEREABOUTS_GENERATION", generation.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that what it starts is killed with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = started.map_err(|source| AfterError::Start {
        program: program.clone(),
        source,
    })?;
    let group = Group::led_by(&child);
    let outputs = [
        Output::of(child.stdout.take()),
        Output::of(child.stderr.take()),
    ];
    let ended = timeout(limit, child.wait()).await;
    if ended.is_ok() {
        group.let_go();
    } else {
        drop(group);
        // Its leader, which is waited for.
        let _ = child.kill().await;
    }
    let afterglow = Instant::now() + AFTERGLOW;
    for (stream, output) in ["stdout", "stderr"].into_iter().zip(outputs) {
        for line in output
            .until(afterglow)
            .await
            .lines()
            .filter(|line| !line.trim().is_empty())
        {
            tracing::info!(file = name, %program, stream, "{line}");
        }
    }
    match ended {
        Err(_) => Err(AfterError::TimedOut { program, limit }),
        Ok(Err(source)) => Err(AfterError::Start { program, source }),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(AfterError::Failed { program, status }),
    }
}

/// A command and all it started; killed when dropped, be it late or the node at its end.
struct Group(Option<Pid>);

impl Group {
    /// The group of a child that began one.
    fn led_by(child: &Child) -> Self {
        Self(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(Pid::from_raw),
        )
    }

    /// The command ended by itself: what it left running goes on.
    fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // All ended by themselves: nothing to do.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The beginning of a stream; all of it is read, so that its writer does not wait.
struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Whoever still holds the stream may write on when this is dropped.
    reads: JoinHandle<()>,
}

impl Output {
    fn of(stream: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let kept = Arc::<Mutex<Vec<u8>>>::default();
        let keeps = kept.clone();
        let reads = tokio::spawn(async move {
            let Some(mut stream) = stream else { return };
            let mut block = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut block).await {
                let mut kept = keeps.lock().unwrap_or_else(PoisonError::into_inner);
                let room = OUTPUT - kept.len();
                kept.extend(block.iter().take(read.min(room)));
            }
        });
        Self { kept, reads }
    }

    /// What came until the stream's end, or until some moment if others hold it.
    async fn until(self, moment: Instant) -> String {
        // Either way what is there is there.
        let _ = timeout_at(moment, self.reads).await;
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
    kill_process(pid, signal).map_err(|error| {
        format!(
            "process {}: {}",
            pid.as_raw_nonzero(),
            std::io::Error::from(error)
        )
    })
}
