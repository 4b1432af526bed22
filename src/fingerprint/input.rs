//! Reads the secret, or the file that holds it.

use std::io::Read;

use zeroize::Zeroizing;

use super::error::FingerprintError;
use super::limits::MAX_INPUT;
use crate::session::credential::Secret;

pub(super) fn read(
    from: &mut dyn Read,
    name: &str,
) -> Result<Zeroizing<Vec<u8>>, FingerprintError> {
    // Room for all at once: growing would leave unwiped copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_INPUT + 1));
    from.take(MAX_INPUT as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|cause| FingerprintError::Read {
            from: name.to_owned(),
            cause,
        })?;
    if content.len() > MAX_INPUT {
        return Err(FingerprintError::TooLarge(name.to_owned()));
    }
    Ok(content)
}

/// A secret, and how it was found.
pub(super) struct Found {
    pub(super) secret: Secret,
    /// The file ended with one newline, which is not part of the secret.
    pub(super) newline_ignored: bool,
    /// What a reference in the file was resolved to: `environment variable NAME`.
    pub(super) followed: Option<String>,
}

impl Found {
    pub(super) fn plain(secret: Secret) -> Self {
        Self {
            secret,
            newline_ignored: false,
            followed: None,
        }
    }
}

/// Removes the newline that editors and `echo` add; more than one is a mistake and is reported as a
/// shape.
pub(super) fn drop_newline(content: &[u8]) -> Found {
    let rest = content
        .strip_suffix(b"\n")
        .map(|rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    Found {
        secret: Secret::new(rest.unwrap_or(content).to_vec()),
        newline_ignored: rest.is_some(),
        followed: None,
    }
}
