//! The recordings of a program: one per file, however many write to it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::fcntl::OFlag;

use super::Recording;

/// Tells a file from every other one, by whatever path it is reached.
type FileId = (u64, u64);

/// The files that are being recorded to. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Recordings(Arc<Mutex<Vec<(FileId, Weak<Recording>)>>>);

impl Recordings {
    /// The recording to the file at `path`: the one that is open, or a new one. Then the file is made, or overwritten.
    ///
    /// # Errors
    /// What the system says when the file cannot be written, or that it is neither a file nor a character device.
    pub fn open(&self, path: &Path) -> io::Result<Arc<Recording>> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|(_, recording)| recording.strong_count() > 0);
        // Not truncated yet: it may be open, or not be a file. Without O_NONBLOCK a pipe would wait for a reader.
        let mut options = File::options();
        let file =
            options.write(true).create(true).truncate(false).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        let metadata = file.metadata()?;
        if let Some(recording) = find(&files, id(&metadata)) {
            return Ok(recording);
        }
        if metadata.is_file() {
            file.set_len(0)?;
        } else if !metadata.file_type().is_char_device() {
            let message = "it is neither a regular file nor a character device such as /dev/null";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let recording = Arc::new(Recording::begin(path.to_owned(), Box::new(file))?);
        files.push((id(&metadata), Arc::downgrade(&recording)));
        Ok(recording)
    }

    /// Whether the file at `path` is being recorded to.
    pub fn contains(&self, path: &Path) -> bool {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::fs::metadata(path).is_ok_and(|metadata| find(&files, id(&metadata)).is_some())
    }
}

fn find(files: &[(FileId, Weak<Recording>)], wanted: FileId) -> Option<Arc<Recording>> {
    files.iter().find(|(id, _)| *id == wanted).and_then(|(_, recording)| recording.upgrade())
}

fn id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}
