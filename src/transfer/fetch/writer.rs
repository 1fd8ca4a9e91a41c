//! The thread that hashes and writes the content of a pull, and the queues to and from it.

use tokio::sync::{mpsc, oneshot};

use super::block::Block;
use super::{Destination, FetchError};
use crate::files::target::{Target, TargetError};
use crate::wire::v1::Notice;

/// A step of the thread.
pub(super) enum Step {
    /// Discard the bytes held.
    Restart,
    Write(Block),
    /// Replace the target.
    End,
}

/// The queue to the thread, and the queue of written blocks that are free again.
pub(super) struct Writer {
    pub(super) steps: mpsc::Sender<Step>,
    pub(super) free: mpsc::Receiver<Block>,
}

impl Writer {
    pub(super) async fn send(&self, step: Step) -> Result<(), FetchError> {
        self.steps.send(step).await.map_err(|_| FetchError::Writer)
    }

    /// Sends a block to the thread, and returns an empty one.
    pub(super) async fn write(&mut self, block: Block) -> Result<Block, FetchError> {
        self.send(Step::Write(block)).await?;
        Ok(match self.free.try_recv() {
            Ok(free) => free.emptied(),
            Err(_) => Block::new(),
        })
    }
}

/// The body of the thread. `ready` receives how many bytes are held, or `None` if the target has the content already.
pub(super) fn write(
    notice: &Notice,
    destination: &Destination,
    ready: oneshot::Sender<Option<u64>>,
    mut steps: mpsc::Receiver<Step>,
    written: &mpsc::Sender<Block>,
) -> Result<(), TargetError> {
    let target =
        Target::open(&destination.path, destination.mode)?.owned_by(destination.owner.clone());
    if !destination.content_differs && target.keep(notice.size, &notice.digest)? {
        target.remove_parts(None);
        // If the pull was aborted, no one needs the answer.
        let _ = ready.send(None);
        return Ok(());
    }
    let mut part = target.part(notice.size, &notice.digest)?;
    let _ = ready.send(Some(part.held()));
    while let Some(step) = steps.blocking_recv() {
        match step {
            Step::Restart => part.restart()?,
            Step::Write(block) => {
                part.write(block.bytes())?;
                // If the queue is full, the block is dropped.
                let _ = written.try_send(block);
            }
            Step::End => return part.commit(),
        }
    }
    // The pull was aborted: the part stays for the next one.
    Ok(())
}
