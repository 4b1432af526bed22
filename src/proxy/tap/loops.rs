//! Detects requests that come back to us: `gateway.url` leads here through another proxy or a port
//! mapping.
//!
//! Requests are not changed as long as nothing looks like a loop. All requests of a loop are
//! similar and wait for their answers at the same time. So when more than a few similar requests
//! wait, each further one goes out with a `Via` line that names this process; `Via` exists to find
//! loops (RFC 9110 section
//! 7.6.3). A request that arrives with this line has passed through here before. Likeness alone proves
//! nothing: test tools all send the example key of RFC 6455, and many pages request the same path.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{AUTHORIZATION, COOKIE, HeaderName, SEC_WEBSOCKET_KEY, USER_AGENT, VIA};
use http::{HeaderMap, HeaderValue, Request};
use uuid::Uuid;

/// Number of similar requests that may wait for their answers before they look like a loop.
const ALIKE: u32 = 8;

/// Headers that stay the same on each pass of a loop, whatever proxies add.
const LASTING: [HeaderName; 4] = [SEC_WEBSOCKET_KEY, COOKIE, AUTHORIZATION, USER_AGENT];

/// Tracks the requests that wait for the gateway.
#[derive(Debug)]
pub(crate) struct Loops {
    /// Identifies this process, and no other, in `Via`.
    pseudonym: String,
    likeness: RandomState,
    waiting: Mutex<HashMap<u64, Alike>>,
}

/// A group of similar requests.
#[derive(Debug, Default)]
struct Alike {
    waiting: u32,
    /// One of these requests had passed through here before.
    looped: bool,
}

/// Which requests get a `Via` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marks {
    /// No request: its connection cannot have come from us.
    Never,
    /// A request that waits together with many similar ones.
    Similar,
}

/// The request has passed through here before.
#[derive(Debug)]
pub(crate) struct CameBack;

/// One request that waits for the gateway; dropping this removes it.
#[derive(Debug)]
pub(crate) struct Turn {
    loops: Arc<Loops>,
    likeness: u64,
}

impl Default for Loops {
    fn default() -> Self {
        Self {
            pseudonym: format!("wstap-{}", Uuid::new_v4().simple()),
            likeness: RandomState::new(),
            waiting: Mutex::default(),
        }
    }
}

impl Loops {
    /// Counts a request until its answer, and marks it where many similar requests wait.
    pub(crate) fn enter<B>(
        self: &Arc<Self>,
        request: &mut Request<B>,
        marks: Marks,
    ) -> Result<Turn, CameBack> {
        let likeness = self.likeness_of(request);
        if self.has_been_here(request.headers()) {
            if let Some(alike) = self.waiting().get_mut(&likeness) {
                alike.looped = true;
            }
            return Err(CameBack);
        }
        let suspicious = {
            let mut waiting = self.waiting();
            let alike = waiting.entry(likeness).or_default();
            alike.waiting += 1;
            alike.waiting > ALIKE && marks == Marks::Similar
        };
        if suspicious && let Ok(via) = HeaderValue::from_str(&format!("1.1 {}", self.pseudonym)) {
            tracing::debug!("many similar requests wait for the gateway; marking one of them");
            request.headers_mut().append(VIA, via);
        }
        Ok(Turn {
            loops: Arc::clone(self),
            likeness,
        })
    }

    fn likeness_of<B>(&self, request: &Request<B>) -> u64 {
        let mut hasher = self.likeness.build_hasher();
        request.method().hash(&mut hasher);
        request.uri().hash(&mut hasher);
        for name in &LASTING {
            request.headers().get(name).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn has_been_here(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(VIA).iter();
        let name = self.pseudonym.as_bytes();
        lines.any(|line| memchr::memmem::find(line.as_bytes(), name).is_some())
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Alike>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Whether a similar request came back while this one waited.
    pub(crate) fn has_looped(&self) -> bool {
        let waiting = self.loops.waiting();
        waiting
            .get(&self.likeness)
            .is_some_and(|alike| alike.looped)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = self.loops.waiting();
        if let Some(alike) = waiting.get_mut(&self.likeness) {
            alike.waiting -= 1;
            if alike.waiting == 0 {
                waiting.remove(&self.likeness);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn upgrade(key: &str) -> Request<()> {
        let request = Request::get("/ws").header(SEC_WEBSOCKET_KEY, key);
        request.body(()).unwrap()
    }

    #[test]
    fn a_request_that_goes_round_is_found_and_every_turn_knows_it() {
        let loops = Arc::<Loops>::default();
        let mut request = upgrade(KEY);
        let mut turns = Vec::new();
        while let Ok(turn) = loops.enter(&mut request, Marks::Similar) {
            turns.push(turn);
            // Proxies on the way add their own headers.
            request
                .headers_mut()
                .append(VIA, "1.1 nginx".parse().unwrap());
            request
                .headers_mut()
                .append("x-forwarded-for", "::1".parse().unwrap());
        }
        assert_eq!(turns.len(), 9);
        assert!(turns.iter().all(Turn::has_looped));
        drop(turns);
        assert!(loops.waiting().is_empty());
        // The next group starts from zero.
        assert!(
            !loops
                .enter(&mut upgrade(KEY), Marks::Similar)
                .unwrap()
                .has_looped()
        );
    }

    #[test]
    fn clients_that_are_alike_are_no_loop() {
        let loops = Arc::<Loops>::default();
        let mut turns = Vec::new();
        for number in 0..100 {
            let mut request = upgrade(KEY);
            turns.push(loops.enter(&mut request, Marks::Similar).unwrap());
            let marked = request.headers().contains_key(VIA);
            assert_eq!(marked, number >= 8, "{number}");
        }
        assert!(!turns.iter().any(Turn::has_looped));
        // Other requests at the same time are not marked.
        for key in 0..100 {
            let mut request = upgrade(&format!("{key:022}=="));
            turns.push(loops.enter(&mut request, Marks::Similar).unwrap());
            assert!(!request.headers().contains_key(VIA));
        }
    }

    /// Two taps in a row are not a loop, and each tap finds only its own loops.
    #[test]
    fn another_taps_mark_is_not_ours() {
        let (one, other) = (Arc::<Loops>::default(), Arc::<Loops>::default());
        let mut turns = Vec::new();
        for _ in 0..20 {
            let mut request = upgrade(KEY);
            turns.push(one.enter(&mut request, Marks::Similar).unwrap());
            turns.push(other.enter(&mut request, Marks::Similar).unwrap());
        }
        assert!(!turns.iter().any(Turn::has_looped));
    }
}
