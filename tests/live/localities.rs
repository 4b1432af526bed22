//! A client that is remote without the tap is remote with it, shown with the real gateway.
//!
//! Every client of `clients` goes to the gateway itself, and then through the tap, for every
//! configuration of proxies in gateway and tap. The gateway does not say whom it takes for local;
//! its behaviour shows it (`visitor`), and its log has to say the same. The whole table is printed,
//! and written to `target/localities.txt`.

mod clients;
mod evidence;
mod table;
mod taps;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use self::clients::{Client, Door, Locality, PAGE};
use self::evidence::Evidence;
use self::table::Row;
use self::taps::{Mode, Refusal};
use super::Install;
use super::gateway::{Gateway, Options};
use super::nginx::{self, Nginx};
use super::turn;
use super::visitor::Visitor;
use crate::support::client::connect;
use crate::support::deadline::{STEP, poll};
use crate::support::netns::{self, HERE_PRIVATE, Net, test_name};
use crate::support::skip::skip;

const TEST: &str = "live: who is local";

#[tokio::test]
async fn nobody_becomes_local_by_the_tap() {
    let Some((_turn, install)) = turn(TEST).await else {
        return;
    };
    let Some(nginx) = nginx::installed() else {
        return skip(TEST, "nginx is missing: run make fetch");
    };
    let Some(net) = netns::enter(TEST, test_name!(nobody_becomes_local_by_the_tap)).await else {
        return;
    };
    let _nginx = Nginx::start(&nginx).await;
    let mut walk = Walk {
        net,
        rows: Vec::new(),
    };
    walk.loopback_gateway(&install).await;
    walk.reachable_gateway(&install).await;

    let table = table::render(&walk.rows);
    eprintln!("{table}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join("localities.txt"), &table));
    written.expect("write the table");
    let wrong: Vec<String> = walk.rows.iter().filter_map(Row::complaint).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        walk.rows.iter().any(Row::became_local),
        "the control shows nothing: this test could not fail"
    );
}

/// The network and what was found in it.
struct Walk {
    net: Net,
    rows: Vec<Row>,
}

/// The address by which the gateway's own host reaches it: the tap, nginx, and local clients.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NETWORK: IpAddr = IpAddr::V4(HERE_PRIVATE);

/// Names of the table.
const OVERWRITE: &str = "overwrite";
const REMOTE: &str = "other host";

impl Walk {
    /// As it is installed: nobody else can reach it but through the tap.
    async fn loopback_gateway(&mut self, install: &Install) {
        let options = options(false, Vec::new());
        let gateway = Gateway::start_with(install, &options).await;
        self.phase(&gateway, &options, LOOPBACK, taps::BEFORE_LOOPBACK)
            .await;
        for mode in taps::NEVER_BEFORE_LOOPBACK {
            let Refusal { code, stderr } = mode.refused_to_start(gateway.addr()).await;
            assert_eq!(code, Some(2), "{}: {stderr}", mode.name);
            assert!(stderr.contains("allow_remote_as_local: true"), "{stderr}");
        }
    }

    /// It answers on all addresses, and then trusts the tap, by the line that the tap's own records
    /// give.
    async fn reachable_gateway(&mut self, install: &Install) {
        let trusting_nobody = options(true, Vec::new());
        let gateway = Gateway::start_with(install, &trusting_nobody).await;
        let mut advices = Vec::new();
        for (way, modes) in [(LOOPBACK, taps::UNTRUSTED), (NETWORK, taps::ELSEWHERE)] {
            self.phase(&gateway, &trusting_nobody, way, modes).await;
            let advice = self.last(OVERWRITE, REMOTE).advice();
            advices.push(advice.expect("the record of the 403 has the line to add"));
        }
        assert_eq!(advices, [["127.0.0.1/32"], ["10.87.0.1/32"]]);
        let ways = [(LOOPBACK, taps::TRUSTED), (NETWORK, taps::ELSEWHERE)];
        for ((way, modes), advice) in ways.into_iter().zip(advices) {
            let trusting = options(true, advice);
            reload(&gateway, &trusting).await;
            self.phase(&gateway, &trusting, way, modes).await;
            let mended = self.last(OVERWRITE, REMOTE).locality;
            assert_eq!(mended, Locality::Remote, "with the line added it works");
        }
    }

    /// The newest row of this tap and client.
    fn last(&self, tap: &str, client: &str) -> &Row {
        let mut rows = self.rows.iter().rev();
        let found = rows.find(|row| row.tap == tap && row.client.name == client);
        found.unwrap_or_else(|| panic!("no row of {tap} and {client}"))
    }

    /// Everybody without the tap, then with each of these taps.
    async fn phase(&mut self, gateway: &Gateway, options: &Options, way: IpAddr, modes: &[Mode]) {
        let bound = if options.lan { "all" } else { "loopback" };
        let trusted = options.trusted_proxies.first();
        let trusted = trusted.map_or("nobody", String::as_str);
        let gateway_cell = format!("on {bound}, by {way}, trusts {trusted}");
        let upstream = SocketAddr::new(way, gateway.addr().port());
        let first = self.rows.len();
        let mut baselines = Vec::new();
        for client in Client::ALL {
            let meeting = client.meet(&self.net, Door { local: upstream }).await;
            let row = Row::new(client, &gateway_cell, "no tap", meeting);
            baselines.push(row.locality);
            self.rows.push(row);
        }
        for mode in modes {
            let tap = mode.start(upstream).await;
            mode.settled(&tap).await;
            let door = Door {
                local: (LOOPBACK, taps::port(&tap)).into(),
            };
            for (client, baseline) in Client::ALL.iter().zip(&baselines) {
                let meeting = client.meet(&self.net, door).await;
                let records = taps::records(&tap, &meeting).await;
                let mut row = Row::new(client, &gateway_cell, mode.name, meeting);
                row.through(mode, *baseline, &records);
                self.rows.push(row);
            }
        }
        // The gateway writes its log a moment later. Missing lines are reported at the end.
        let rows = &mut self.rows[first..];
        let complete = || {
            let evidence = Evidence::of(&gateway.log());
            let told = rows.iter_mut().map(|row| row.look_up(&evidence));
            (told.filter(|told| !told).count() == 0).then_some(())
        };
        poll(STEP, complete).await;
    }
}

fn options(lan: bool, trusted_proxies: Vec<String>) -> Options {
    Options {
        lan,
        trusted_proxies,
        allowed_origins: vec![PAGE.to_owned()],
        ..Options::default()
    }
}

/// Other `trustedProxies` for a running gateway: it closes every session when it has taken them
/// over.
async fn reload(gateway: &Gateway, options: &Options) {
    let mut conn = connect(gateway.addr()).await;
    let answer = Visitor::command_line().greet(&mut conn).await;
    answer.expect("an answer");
    gateway.rewrite(options);
    let close = loop {
        let frame = conn.frame().await.expect("a Close of the gateway");
        if let Some(close) = frame.as_close() {
            break close;
        }
    };
    assert_eq!(close, (Some(4001), "gateway policy changed".to_owned()));
}
