//! How long a connection may be kept for the next request.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The gateway closes kept connections after 5 s, as Node's servers do (seen with 2026.9.6). A
/// little less avoids sending a request on a connection that is being closed.
const LONGEST: Duration = Duration::from_secs(4);

/// Margin for an announced timeout: it starts when the peer has written its answer, and ends when
/// its FIN arrives.
const MARGIN: Duration = Duration::from_secs(1);

/// How long a connection may wait for its next request after this answer; `None` if it must not be
/// reused. `Keep-Alive: timeout=N, max=N` is a hint that can only shorten the default (RFC 2068 section
/// 19.7.1.1, and what servers send since then). `Connection: close` is left to hyper.
pub(super) fn kept_for(answer: &HeaderMap) -> Option<Duration> {
    let mut keep = LONGEST;
    let values = answer.get_all(KEEP_ALIVE).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    for hint in values.flat_map(|value| value.split(',')) {
        let Some((name, value)) = hint.split_once('=') else {
            continue;
        };
        let Ok(number) = value.trim().trim_matches('"').parse::<u64>() else {
            continue;
        };
        match name.trim() {
            name if name.eq_ignore_ascii_case("timeout") => {
                let announced = Duration::from_secs(number);
                keep = keep.min(announced.saturating_sub(MARGIN));
            }
            name if name.eq_ignore_ascii_case("max") && number == 0 => return None,
            _ => {}
        }
    }
    Some(keep).filter(|keep| !keep.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &[&str]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(KEEP_ALIVE, value.parse().unwrap());
        }
        kept_for(&headers)
    }

    #[test]
    fn a_hint_shortens_what_is_known_and_never_lengthens_it() {
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(with(&[]), seconds(4));
        assert_eq!(with(&["timeout=5"]), seconds(4));
        assert_eq!(with(&["timeout=60, max=100"]), seconds(4));
        assert_eq!(with(&["timeout=3"]), seconds(2));
        assert_eq!(with(&["max=7", "Timeout = \"3\""]), seconds(2));
        assert_eq!(with(&["timeout=1"]), None);
        assert_eq!(with(&["timeout=0"]), None);
        assert_eq!(with(&["timeout=5, max=0"]), None);
        assert_eq!(with(&["timeout=5, max=1"]), seconds(4));
        assert_eq!(with(&["nonsense", "timeout=-1", "timeout=x"]), seconds(4));
    }
}
