//! The offered file as a stream for terminals: one generation from its first byte to its last.
//!
//! A stream must end in an error, and not at its end, if the file was written meanwhile.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};

use super::base;
use crate::transfer::offers::{Generation, Offers};

/// How many bytes are read from the disk at once.
const CHUNK: usize = 64 * 1024;

impl base::OfferSource for Offers {
    fn open(&self, name: &str) -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
        let current = self.current(name).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no content of '{name}' is offered now"),
            )
        })?;
        Ok(Box::new(Reader::new(current)))
    }
}

/// Reads one generation. A write into its file is an error, so two generations are never mixed.
struct Reader {
    generation: Arc<Generation>,
    offset: u64,
    chunk: Chunk,
}

enum Chunk {
    Ready {
        bytes: Vec<u8>,
        from: usize,
        to: usize,
    },
    Reading(JoinHandle<io::Result<(Vec<u8>, usize)>>),
}

impl Reader {
    fn new(generation: Arc<Generation>) -> Self {
        Self {
            generation,
            offset: 0,
            chunk: Chunk::Ready {
                bytes: vec![0; CHUNK],
                from: 0,
                to: 0,
            },
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.chunk {
                Chunk::Ready { bytes, from, to } if *from < *to => {
                    let count = into.remaining().min(*to - *from);
                    into.put_slice(&bytes[*from..*from + count]);
                    *from += count;
                    return Poll::Ready(Ok(()));
                }
                Chunk::Ready { bytes, .. } => {
                    let mut bytes = std::mem::take(bytes);
                    let generation = self.generation.clone();
                    let offset = self.offset;
                    bytes.resize(CHUNK, 0);
                    self.chunk = Chunk::Reading(spawn_blocking(move || {
                        let read = generation
                            .snapshot
                            .read_at(&mut bytes, offset)
                            .map_err(io::Error::other)?;
                        Ok((bytes, read))
                    }));
                }
                Chunk::Reading(reading) => {
                    let read = ready!(Pin::new(reading).poll(context))
                        .map_err(io::Error::other)
                        .flatten();
                    // A finished task must not be polled again.
                    let (bytes, to) = match read {
                        Ok(read) => read,
                        Err(error) => {
                            self.chunk = Chunk::Ready {
                                bytes: Vec::new(),
                                from: 0,
                                to: 0,
                            };
                            return Poll::Ready(Err(error));
                        }
                    };
                    self.offset += to as u64;
                    self.chunk = Chunk::Ready { bytes, from: 0, to };
                    if to == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::files::offer::Snapshot;

    fn reader(path: &std::path::Path) -> Reader {
        Reader::new(Arc::new(Generation {
            number: 1,
            snapshot: Snapshot::take(path).unwrap(),
        }))
    }

    #[tokio::test]
    async fn generation_is_read_whole_though_another_replaces_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let new = directory.path().join("b");
        let content: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        fs::write(&path, &content).unwrap();
        let mut reader = reader(&path);
        let mut got = vec![0; 1000];
        reader.read_exact(&mut got).await.unwrap();
        fs::write(&new, vec![7; 300_000]).unwrap();
        fs::rename(&new, &path).unwrap();
        reader.read_to_end(&mut got).await.unwrap();
        assert!(got == content);
    }

    #[tokio::test]
    async fn write_into_the_file_ends_the_stream_with_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, vec![1; 200_000]).unwrap();
        let mut reader = reader(&path);
        reader.read_exact(&mut [0; 1000]).await.unwrap();
        fs::write(&path, vec![2; 150_000]).unwrap();
        let mut got = Vec::new();
        assert!(reader.read_to_end(&mut got).await.is_err());
        assert!(
            got.iter().all(|byte| *byte == 1),
            "no byte of the other content"
        );
    }

    #[test]
    fn name_without_content_is_an_error() {
        let offers = Offers::new([("a".into(), "/no/such/file".into())]);
        for name in ["a", "b"] {
            assert!(base::OfferSource::open(&offers, name).is_err());
        }
    }
}
