//! Bounds on the memory of an idle tunnel, set to its current size. Raising a bound raises the
//! memory of every open session, so give the reason. docs/design/relay.md has the sum.

use crate::proxy::tunnel::relay::*;

fn of_future<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
    size_of::<F>()
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_relay_grows_by_nobodys_oversight() {
    let relay = size_of::<Relay>();
    assert!(relay <= 1744, "a relay takes {relay} bytes");
    let half = size_of::<Half>();
    assert!(half <= 496, "a direction takes {half} bytes");
    let beats = size_of::<Heartbeats>();
    assert!(
        beats <= 8,
        "before its first ping a session takes {beats} bytes for pings"
    );
}

/// The future contains the relay once; an `async fn` that takes `self` would contain it twice.
#[test]
#[cfg(target_pointer_width = "64")]
fn the_relays_future_is_little_more_than_the_relay() {
    let (relay, future) = (size_of::<Relay>(), of_future(Relay::run));
    assert!(
        future <= relay + 320,
        "a relay takes {relay} bytes and its future {future}"
    );
}
