//! `--in`: enters the network namespace of a container, a Compose service or a process, or one named by a file.

#[cfg(target_os = "linux")]
pub mod engine;
#[cfg(target_os = "linux")]
mod enter;
mod namespace;
#[cfg(target_os = "linux")]
pub mod sharing;

#[cfg(target_os = "linux")]
pub use self::enter::{
    EnterError, NamespaceFacts, current, enter, enter_with_names, has_interface, netns_of, read_in,
};
pub use self::namespace::{NamespaceOwner, NamespaceOwnerError};
