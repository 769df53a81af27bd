//! A snapshot on its way in: chunks as a peer sealed them, in a file, until all are there.
//!
//! ```text
//! file = (length u32 | chunk)*
//! ```
//! The file goes when nobody holds it any more, and at the next start of the HSM.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{CHUNK_BYTES_MAX, Error};

/// A sealed chunk's bytes at most: what sealing adds is less than the rest.
pub const SEALED_CHUNK_BYTES_MAX: usize = CHUNK_BYTES_MAX + 64 * 1024;

/// What the files' names begin with.
pub(crate) const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".incoming";

/// Where snapshots come in: any thread may begin one.
#[derive(Clone)]
pub struct Inbox {
    folder: PathBuf,
    count: Arc<AtomicU64>,
}

impl Inbox {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), count: Arc::default() }
    }

    /// An empty file for a snapshot's chunks.
    ///
    /// # Errors
    /// Where the file can't be made.
    pub fn begin(&self) -> Result<Incoming, Error> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{PREFIX}{number}{SUFFIX}"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io(&path))?;
        Ok(Incoming { temporary: Temporary(path), file: BufWriter::new(file), chunks: 0 })
    }
}

/// A snapshot of which chunks come in.
pub struct Incoming {
    temporary: Temporary,
    file: BufWriter<File>,
    chunks: u64,
}

impl Incoming {
    /// How many chunks have come.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Adds the next chunk, as its sender sealed it.
    ///
    /// # Errors
    /// [`Error::Snapshot`] where it is longer than [`SEALED_CHUNK_BYTES_MAX`], or the file system's.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        if chunk.len() > SEALED_CHUNK_BYTES_MAX {
            return Err(Error::Snapshot("a chunk is too long"));
        }
        let path = &self.temporary.0;
        self.file.write_all(&(chunk.len() as u32).to_be_bytes()).map_err(Error::io(path))?;
        self.file.write_all(chunk).map_err(Error::io(path))?;
        self.chunks += 1;
        Ok(())
    }

    /// All chunks have come.
    ///
    /// # Errors
    /// The file system's.
    pub fn finish(mut self) -> Result<Received, Error> {
        self.file.flush().map_err(Error::io(&self.temporary.0))?;
        Ok(Received { temporary: self.temporary })
    }
}

/// A snapshot whose chunks have all come. Whether they are a snapshot, [`crate::Store::install`] finds.
pub struct Received {
    temporary: Temporary,
}

impl Received {
    /// The chunks in order, as their sender sealed them.
    ///
    /// # Errors
    /// Where the file can't be opened.
    pub fn chunks(&self) -> Result<Chunks, Error> {
        Chunks::open(&self.temporary.0)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.temporary.0
    }
}

/// A file that goes when the value is dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "a snapshot's file stays behind");
        }
    }
}

/// The chunks of a file.
pub struct Chunks {
    path: PathBuf,
    file: BufReader<File>,
}

impl Chunks {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        Ok(Self { path: path.to_owned(), file: BufReader::new(file) })
    }
}

/// The next chunk of a file; `None` at its end.
pub(crate) fn read_chunk(file: &mut impl Read) -> Result<Option<Vec<u8>>, ChunkError> {
    let mut length = [0; 4];
    // Nothing is the end; a part of a length is not.
    if file.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    file.read_exact(&mut length[1..])?;
    let length = u32::from_be_bytes(length) as usize;
    if length > SEALED_CHUNK_BYTES_MAX {
        return Err(ChunkError::TooLong);
    }
    let mut chunk = vec![0; length];
    file.read_exact(&mut chunk)?;
    Ok(Some(chunk))
}

/// Why a file has no further chunk.
pub(crate) enum ChunkError {
    TooLong,
    Io(std::io::Error),
}

impl From<std::io::Error> for ChunkError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl Iterator for Chunks {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = read_chunk(&mut self.file).map_err(|error| match error {
            ChunkError::TooLong => Error::Snapshot("a chunk is too long"),
            ChunkError::Io(error) => Error::io(&self.path)(error),
        });
        chunk.transpose()
    }
}

/// Removes what an earlier start left, but `kept`.
pub(crate) fn clean(folder: &Path, kept: Option<&str>) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let name = entry.map_err(Error::io(folder))?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        if kept != Some(name) {
            let path = folder.join(name);
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}
