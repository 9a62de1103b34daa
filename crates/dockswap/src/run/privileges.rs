//! Giving up root before the first byte from the internet is read. Linux keeps credentials for each thread:
//! all of this is done while there is only one, and every later one inherits it.

use crate::paths::Paths;
use anyhow::{Context, Result, bail};
use rustix::process::{Gid, Resource, Uid, geteuid, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown, lchown, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Where the system's users are.
const PASSWD: &str = "/etc/passwd";

/// A user of the system, with its own group and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The user that `text` names: one of `/etc/passwd`, or `UID:GID`.
    pub(crate) fn find(text: &str) -> Result<Self> {
        let users = fs::read_to_string(PASSWD).with_context(|| format!("{PASSWD} cannot be read"))?;
        let user = Self::named(text, &users)
            .with_context(|| format!("proxy.user: {text} is not in {PASSWD}, and not UID:GID"))?;
        if user.uid == 0 {
            bail!("proxy.user: {text} is root: leave it out to run the proxy as root");
        }
        Ok(user)
    }

    fn named(text: &str, users: &str) -> Option<Self> {
        if let Some((uid, gid)) = text.split_once(':') {
            return Some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? });
        }
        let mut fields = users.lines().map(|line| line.split(':')).find_map(|mut fields| {
            let name = fields.next()?;
            (name == text).then_some(fields)
        })?;
        Some(Self { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }
}

/// Makes this process `user`, for good. All that it keeps of root is the right to listen on ports below
/// 1024, so that an app's `listen_port` may be one of them.
///
/// # Errors
/// When it is not root, unless it is that user already; or when the kernel refuses.
pub(crate) fn become_user(user: User) -> Result<()> {
    if !geteuid().is_root() {
        if geteuid().as_raw() == user.uid {
            return Ok(());
        }
        bail!("proxy.user: only root can become another user, and this is user {}", geteuid().as_raw());
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let drop = || -> rustix::io::Result<()> {
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_keep_capabilities(true)?;
        set_thread_res_uid(uid, uid, uid)?;
        set_keep_capabilities(false)?;
        let kept = capabilities(None)?.permitted & CapabilitySet::NET_BIND_SERVICE;
        let inheritable = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })
    };
    drop().with_context(|| format!("cannot become user {}", user.uid))
}

/// Rules out that this process, or any that it might start, gains power by running a program.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn gain_none() -> Result<()> {
    set_no_new_privs(true).context("cannot give up gaining privileges")
}

/// Takes as many file descriptors as this process may have: every connection needs two, and the usual limit
/// of 1024 would let a few hundred clients keep all others out.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn take_all_files() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")
}

/// Makes a directory of `user`'s own within the data directory, which is nobody's but root's, and goes there:
/// what this process needs it reaches from where it stands. The control socket is found in its usual place
/// through a link; a saved route table and saved certificates move along.
///
/// # Errors
/// When a proxy answers already, or a file cannot be made.
pub(crate) fn move_in(paths: &Paths, user: User) -> Result<()> {
    let (home, socket) = (paths.proxy_home(), paths.proxy_socket());
    if UnixStream::connect(&socket).is_ok() {
        bail!("a proxy is already running on {}", socket.display());
    }
    let files = [paths.proxy_snapshot(), paths.proxy_keyfile()];
    let own = |file: &Path| file_name(file).map(|name| home.join(name));
    if fs::symlink_metadata(&home).is_ok_and(|found| found.uid() != user.uid) {
        // Another user's: only the routes and the certificates are of use.
        for file in &files {
            move_if_there(&own(file)?, file)?;
        }
        fs::remove_dir_all(&home).with_context(|| format!("cannot replace {}", home.display()))?;
    }
    match DirBuilder::new().mode(0o700).create(&home) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot create {}", home.display()));
        }
        _ => {}
    }
    for file in &files {
        let own = own(file)?;
        if move_if_there(file, &own)? {
            lchown(&own, Some(user.uid), Some(user.gid))
                .with_context(|| format!("cannot give {} away", own.display()))?;
        }
    }
    chown(&home, Some(user.uid), Some(user.gid))
        .with_context(|| format!("cannot give {} away", home.display()))?;
    let link = link_to_socket(paths)?;
    let fresh = socket.with_extension("new");
    let _left_over = fs::remove_file(&fresh);
    symlink(link, &fresh)
        .and_then(|()| fs::rename(&fresh, &socket))
        .with_context(|| format!("cannot link {}", socket.display()))?;
    std::env::set_current_dir(&home).with_context(|| format!("cannot go to {}", home.display()))
}

/// Goes where the running proxy is at home, to take over from it. Where none runs, this moves in.
///
/// # Errors
/// When that one is another user's, or at home nowhere: what they have cannot be shared.
pub(crate) fn join(paths: &Paths, user: User) -> Result<()> {
    let (home, socket) = (paths.proxy_home(), paths.proxy_socket());
    if UnixStream::connect(&socket).is_err() {
        return move_in(paths, user);
    }
    let shares = fs::read_link(&socket).is_ok_and(|leads_to| Some(leads_to) == link_to_socket(paths).ok())
        && fs::symlink_metadata(&home).is_ok_and(|found| found.uid() == user.uid);
    if !shares {
        bail!("the running proxy is not user {}'s: stop it, then start this one", user.uid);
    }
    std::env::set_current_dir(&home).with_context(|| format!("cannot go to {}", home.display()))
}

/// Where the control socket is, as seen from the data directory, when the proxy has a home of its own.
fn link_to_socket(paths: &Paths) -> Result<PathBuf> {
    Ok(Path::new(file_name(&paths.proxy_home())?).join(file_name(&paths.proxy_socket())?))
}

/// The last part of a path of ours.
pub(crate) fn file_name(path: &Path) -> Result<&std::ffi::OsStr> {
    path.file_name().with_context(|| format!("{} names no file", path.display()))
}

/// Whether there was anything to move.
fn move_if_there(from: &Path, to: &Path) -> Result<bool> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot move {}", from.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::User;

    #[test]
    fn a_user_is_found_by_name_or_by_numbers() {
        let users = "root:x:0:0:root:/root:/bin/bash\nwww:x:33:34::/var/www:/usr/sbin/nologin\nbroken:x\n";
        let named = |text| User::named(text, users);
        assert_eq!(named("www"), Some(User { uid: 33, gid: 34 }));
        assert_eq!(named("1000:1001"), Some(User { uid: 1000, gid: 1001 }));
        for nobody in ["", "ww", "broken", "33", "a:b", "1:2:3", "-1:5"] {
            assert_eq!(named(nobody), None, "{nobody:?}");
        }
    }
}
