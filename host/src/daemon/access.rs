//! Who may use the socket, and as what.
//!
//! The kernel tells user, group and process of a peer (`SO_PEERCRED`, see unix(7)); nothing the peer sends is believed.
//! [`Access`] maps users and groups to classes. Groups are looked up anew for each connection, so that a user who was
//! taken out of a group loses the class with the next one. Who matches several entries has the highest class; who matches
//! none is refused.

use std::ffi::CString;

use nix::unistd::{getgrouplist, Gid, Group, Uid, User};

use crate::api::Class;

/// Groups that have a class unless the daemon is told otherwise.
pub const DEFAULT_GROUPS: [(Class, &str); 3] = [
    (Class::SuperUser, "nat64-super-user"),
    (Class::Operator, "nat64-operator"),
    (Class::ReadOnly, "nat64-read-only"),
];

/// A user or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// User number.
    Uid(u32),
    /// User name.
    User(String),
    /// Group number.
    Gid(u32),
    /// Group name.
    Group(String),
}

/// What cannot be read in a class option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// No `class=`.
    #[error("`{0}`: expected CLASS=USER,@GROUP,..., CLASS one of read-only, operator, super-user")]
    Class(String),
    /// An empty or strange name.
    #[error("`{0}` is no user (name or number) and no group (@name or @number)")]
    Who(String),
}

/// See the module documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    entries: Vec<(Class, Who)>,
}

/// A peer of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User number.
    pub uid: u32,
    /// Group number.
    pub gid: u32,
    /// Process.
    pub pid: Option<i32>,
}

/// A peer that may use the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User name, or the number when it has none.
    pub user: String,
    /// User number.
    pub uid: u32,
    /// Class.
    pub class: Class,
}

impl Default for Access {
    /// Root and the daemon's own user are super-users; [`DEFAULT_GROUPS`].
    fn default() -> Self {
        let own = nix::unistd::geteuid().as_raw();
        let users = [(Class::SuperUser, Who::Uid(0)), (Class::SuperUser, Who::Uid(own))];
        let groups = DEFAULT_GROUPS.map(|(class, group)| (class, Who::Group(group.into())));
        Self {
            entries: users.into_iter().chain(groups).collect(),
        }
    }
}

impl Access {
    /// Nobody.
    pub const fn none() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds `CLASS=USER,@GROUP,...`.
    ///
    /// # Errors
    /// [`AccessError`] names what cannot be read; nothing is added then.
    pub fn add(&mut self, text: &str) -> Result<(), AccessError> {
        let bad = || AccessError::Class(text.to_owned());
        let (class, list) = text.split_once('=').ok_or_else(bad)?;
        let class = [Class::ReadOnly, Class::Operator, Class::SuperUser]
            .into_iter()
            .find(|c| c.name() == class)
            .ok_or_else(bad)?;
        let mut added = Vec::new();
        for who in list.split(',') {
            let (group, name) = match who.strip_prefix('@') {
                Some(name) => (true, name),
                None => (false, who),
            };
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.$".contains(c)) {
                return Err(AccessError::Who(who.to_owned()));
            }
            let number = name.parse::<u32>().ok();
            added.push((
                class,
                match (group, number) {
                    (false, Some(uid)) => Who::Uid(uid),
                    (false, None) => Who::User(name.to_owned()),
                    (true, Some(gid)) => Who::Gid(gid),
                    (true, None) => Who::Group(name.to_owned()),
                },
            ));
        }
        self.entries.extend(added);
        Ok(())
    }

    /// Adds one user or group.
    pub fn push(&mut self, class: Class, who: Who) {
        self.entries.push((class, who));
    }

    /// Who the peer is and what it may do; `Err` has its name. Asks the user database, which may block.
    ///
    /// # Errors
    /// The peer has no class.
    pub fn admit(&self, peer: Peer) -> Result<Caller, String> {
        // A user database that does not answer makes a user without name and groups, never one with more rights.
        let account = User::from_uid(Uid::from_raw(peer.uid)).ok().flatten();
        let user = account
            .as_ref()
            .map_or_else(|| peer.uid.to_string(), |user| user.name.clone());
        let mut groups = vec![peer.gid];
        if let Some(name) = account.as_ref().and_then(|user| CString::new(user.name.clone()).ok()) {
            let listed = getgrouplist(&name, Gid::from_raw(peer.gid)).unwrap_or_default();
            groups.extend(listed.into_iter().map(Gid::as_raw));
        }
        let is = |who: &Who| match who {
            Who::Uid(uid) => *uid == peer.uid,
            Who::User(name) => account.as_ref().is_some_and(|user| user.name == *name),
            Who::Gid(gid) => groups.contains(gid),
            Who::Group(name) => {
                let group = Group::from_name(name).ok().flatten();
                group.is_some_and(|group| groups.contains(&group.gid.as_raw()))
            }
        };
        let class = self
            .entries
            .iter()
            .filter(|(_, who)| is(who))
            .map(|(class, _)| *class)
            .max();
        match class {
            Some(class) => Ok(Caller {
                user,
                uid: peer.uid,
                class,
            }),
            None => Err(user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> Peer {
        Peer { uid, gid, pid: None }
    }

    fn class(access: &Access, peer: Peer) -> Option<Class> {
        access.admit(peer).ok().map(|caller| caller.class)
    }

    #[test]
    fn highest_class_wins_and_nobody_else_gets_in() {
        let mut access = Access::none();
        access.add("read-only=@4000,@4001").unwrap();
        access.add("operator=4321").unwrap();
        access.add("super-user=@4002").unwrap();
        assert_eq!(class(&access, peer(60_001, 60_001)), None);
        assert_eq!(class(&access, peer(60_001, 4001)), Some(Class::ReadOnly));
        assert_eq!(class(&access, peer(4321, 4000)), Some(Class::Operator));
        assert_eq!(class(&access, peer(4321, 4002)), Some(Class::SuperUser));
        assert_eq!(access.admit(peer(60_001, 60_001)), Err("60001".into()));
    }

    #[test]
    fn root_is_super_user_by_default() {
        assert_eq!(class(&Access::default(), peer(0, 0)), Some(Class::SuperUser));
        let stranger = peer(60_001, 60_001);
        assert_eq!(class(&Access::default(), stranger), None);
    }

    #[test]
    fn names_are_looked_up() {
        let mut access = Access::none();
        access.add("operator=root").unwrap();
        assert_eq!(class(&access, peer(0, 60_001)), Some(Class::Operator));
        let mut access = Access::none();
        access.add("operator=@root").unwrap();
        assert_eq!(class(&access, peer(60_001, 0)), Some(Class::Operator));
        assert_eq!(class(&access, peer(60_001, 60_001)), None);
    }

    #[test]
    fn what_cannot_be_read_adds_nothing() {
        for bad in [
            "root",
            "king=root",
            "operator=",
            "operator=root,",
            "operator=@",
            "operator=a b",
            "operator=a,@/",
        ] {
            let mut access = Access::none();
            assert!(access.add(bad).is_err(), "{bad}");
            assert_eq!(access, Access::none(), "{bad}");
        }
    }
}
