//! Large pages for the tables of a program.
//!
//! A million sessions take 200 megabytes: fifty thousand small pages, far more than a core remembers the places of, and each
//! packet asks for three or four of them. Where the system has large pages for who asks for them (`madvise` in
//! `/sys/kernel/mm/transparent_hugepage/enabled`, as most distributions set it), the C library's memory can ask; it reads
//! whether it should from the environment before `main`. So a program that holds tables begins anew with that set.

use std::io;

/// The variable that tunes the C library (glibc 2.35 or later; others ignore it).
const VARIABLE: &str = "GLIBC_TUNABLES";
/// Memory of the heap and beside it asks for large pages.
const LARGE: &str = "glibc.malloc.hugetlb=1";

/// Has the program's memory in large pages from now on: starts the running program anew, in the same process and with the
/// same arguments, unless the environment says already what the C library should do. To be called first of all in `main`.
/// Programs that it starts itself inherit the setting.
///
/// # Errors
/// Of starting the program anew; nothing has changed then, and all of it works with small pages.
pub fn ask_for_large_pages() -> io::Result<()> {
    if std::env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    again()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn again() -> io::Result<()> {
    use std::os::unix::process::CommandExt;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    // By its own path: /proc/self/exe would give the process another name.
    let mut command = std::process::Command::new(std::env::current_exe()?);
    // It returns only if it fails.
    Err(command.arg0(name).args(arguments).env(VARIABLE, LARGE).exec())
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn again() -> io::Result<()> {
    Ok(())
}
