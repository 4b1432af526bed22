//! `--in`: enters the network namespace of a container, a Compose service or a process, or one named by a file.

#[cfg(target_os = "linux")]
pub(crate) mod engine;
#[cfg(target_os = "linux")]
mod enter;
mod namespace;
#[cfg(target_os = "linux")]
pub(crate) mod sharing;

#[cfg(target_os = "linux")]
pub(crate) use self::enter::{
    EnterError, NamespaceFacts, current, enter, enter_with_names, has_interface, netns_of, read_in,
};
pub(crate) use self::namespace::NamespaceOwner;
