//! Connections that come through a proxy which sends a PROXY header. The header is read before
//! anything else, and from then on the connection counts as that of the client that it names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use crate::admission::peer::Peer;
use crate::admission::proxy_header::Reader;
use crate::proxy::connection::Ends;
use crate::proxy::connection::accept::AcceptedConnection;
use crate::proxy::connection::early::{self, Awaited, Early, Why};
use crate::proxy::tap::clients::Counted;
use crate::session::end_cause::EndCause;
use crate::session::record::client::{ClientFacts, Via, ViaKind};
use crate::session::record::proxy_protocol::{ProxyFault, ProxyProtocolFacts};
use crate::session::record::{FirstBytes, TimerKey, TransportEnd};
use crate::transport::cause;
use crate::transport::socket::{ClientSocket, NoHeader};

impl AcceptedConnection {
    /// Serves a connection of a peer that must send a PROXY header.
    pub(crate) async fn relayed(mut self, mut socket: ClientSocket) {
        let limit = self.tap.config.timeouts().proxy_header;
        let deadline = tokio::time::Instant::from_std(self.accepted.opened() + limit);
        let drain = Arc::clone(&self.tap.drain);
        let mut reader = Reader::default();
        let read = tokio::select! {
            read = timeout_at(deadline, socket.read_header(&mut reader)) => read,
            () = drain.token().cancelled() => return self.unheard(reader.first_bytes(), MissingHeader::Drained),
        };
        let first = reader.first_bytes();
        match read {
            Ok(Ok(header)) => {
                self.ends.peer = self.ends.peer.relaying(header.client);
                self.ends.header = Some(Box::new(header.facts));
                let peer = &self.ends.peer;
                let counts =
                    header.client.is_some() && !peer.is_in(self.tap.config.trusted_proxies());
                if counts {
                    match self.tap.place_for(Counted::of(peer)) {
                        Ok(place) => self.guard.keep(place),
                        Err(denial) => return self.turn_away(socket, denial),
                    }
                }
                self.serve(socket).await;
            }
            Ok(Err(NoHeader::Fault(fault))) => self.unheard(first, MissingHeader::Fault(fault)),
            Ok(Err(NoHeader::Ended(fault))) => {
                self.unheard(first, MissingHeader::Ended(fault, TransportEnd::Fin, None));
            }
            Ok(Err(NoHeader::Broke(error))) => {
                let (end, words) = cause::of_error(&error);
                self.unheard(first, MissingHeader::Ended(reader.cut(), end, Some(words)));
            }
            Err(_) => self.unheard(first, MissingHeader::Late(reader.late(), limit)),
        }
    }

    /// Writes the record of a connection that ends without a header.
    fn unheard(mut self, first: FirstBytes, why: MissingHeader) {
        let fault = match &why {
            MissingHeader::Fault(fault) | MissingHeader::Late(fault, _) => Some(fault.clone()),
            MissingHeader::Ended(fault, ..) => fault.clone(),
            MissingHeader::Drained => None,
        };
        self.ends.header = fault.map(|fault| {
            Box::new(ProxyProtocolFacts {
                fault: Some(fault),
                ..ProxyProtocolFacts::default()
            })
        });
        let (tap, connection) = self.connection(None, Arc::default());
        let now = Instant::now();
        let (why, end) = match why {
            MissingHeader::Fault(_) => (Why::Acted, None),
            MissingHeader::Ended(_, end, cause) => (Why::Left, Some((end, cause, now))),
            MissingHeader::Late(_, limit) => {
                let waited = connection.accepted.since(now);
                (Why::TimedOut(TimerKey::ProxyHeader, limit, waited), None)
            }
            MissingHeader::Drained => (Why::Drained, None),
        };
        let early = Early {
            awaited: Awaited::Nothing,
            first: Some(first),
            why,
            end,
        };
        early::record(&tap, &connection, connection.accepted, early);
    }
}

/// Why no PROXY header was read.
enum MissingHeader {
    Fault(ProxyFault),
    Ended(Option<ProxyFault>, TransportEnd, Option<EndCause>),
    Late(ProxyFault, Duration),
    Drained,
}

impl Ends {
    /// Records who the client is, and which proxy named it.
    pub(crate) fn note(&self, client: &mut ClientFacts) {
        client.addr = self.peer.text();
        client.proxy_protocol.clone_from(&self.header);
        match self.peer {
            Peer::Inet(_) => {}
            Peer::Unix(process) => client.process = Some(process),
            Peer::Relayed {
                client: named,
                proxy,
            } => {
                client.via = Some(Via {
                    kind: ViaKind::ProxyProtocol,
                    peer: proxy.map_or_else(|| "unix".to_owned(), |proxy| proxy.to_string()),
                    header: None,
                    chain: Vec::new(),
                    resolved: named.is_some(),
                });
            }
        }
    }
}
