//! The directory the engine keeps its files in, behind a trait so that tests can cut the power at any operation.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A flat directory. Nothing is on disk for certain before `sync` (contents) or `sync_dir` (names) returned.
pub trait Files {
    /// Names of all files.
    ///
    /// # Errors
    /// As the file system says.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Contents of a file.
    ///
    /// # Errors
    /// As the file system says; `NotFound` if there is none.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Makes a file, or empties one, and writes `contents`.
    ///
    /// # Errors
    /// As the file system says; the file may be there in part.
    fn write(&mut self, name: &str, contents: &[u8]) -> io::Result<()>;
    /// Waits until the contents of a file are on disk.
    ///
    /// # Errors
    /// As the file system says.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Gives a file another name, in place of whatever had it.
    ///
    /// # Errors
    /// As the file system says.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As the file system says.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Waits until names made, changed and removed are on disk.
    ///
    /// # Errors
    /// As the file system says.
    fn sync_dir(&mut self) -> io::Result<()>;
}

/// A directory of the host. While it is open no other process can open it.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
    _lock: File,
}

impl Disk {
    /// Opens a directory, making it (readable by its owner only) if it is not there.
    ///
    /// # Errors
    /// As the file system says; `WouldBlock` when another process has it open.
    pub fn open(directory: &Path) -> io::Result<Self> {
        if !directory.exists() {
            fs::create_dir_all(directory)?;
            private(directory, 0o700)?;
            if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))?;
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Self {
            directory: directory.to_path_buf(),
            _lock: lock,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

#[cfg(unix)]
fn private(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn private(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

impl Files for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut out = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // Names of ours are plain; anything else is not ours.
            if let (Ok(name), true) = (entry.file_name().into_string(), entry.file_type()?.is_file()) {
                out.push(name);
            }
        }
        Ok(out)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        File::open(self.path(name))?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn write(&mut self, name: &str, contents: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        options.open(self.path(name))?.write_all(contents)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        File::open(self.path(name))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}
