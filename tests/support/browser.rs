//! Chromium without a window, driven by its `DevTools` protocol, in a profile of its own.
//!
//! It trusts what `certs/README.md` tells a user of Chrome on Linux to trust, in the same way:
//! `certutil` puts the development CA into the NSS database of the home folder. Nothing is switched
//! off for a test but the sandbox, which does not work for root.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use data_encoding::BASE64;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::deadline::{STEP, poll};
use super::packages::Program;
use super::records::tail;
use super::tap::signal;

/// It loads a large page beside other tests.
const LIMIT: Duration = Duration::from_mins(1);
/// How many events are kept that nobody has asked for yet.
const EVENTS: usize = 10_000;

/// The programs that it takes.
pub struct Programs {
    chromium: Program,
    certutil: Program,
}

impl Programs {
    pub fn find() -> Option<Self> {
        Some(Self {
            chromium: Program::find("chromium")?,
            certutil: Program::find("certutil")?,
        })
    }
}

/// A running browser with one page. Killed when dropped, with its helpers.
pub struct Browser {
    child: Child,
    home: TempDir,
    socket: WebSocketStream<TcpStream>,
    calls: u64,
    /// The page and its session, in terms of the protocol.
    page: Option<String>,
    session: Option<String>,
    events: VecDeque<Value>,
}

impl Browser {
    /// Starts it, trusting these authorities in addition to the public ones.
    pub async fn start(programs: &Programs, authorities: &[&Path]) -> Self {
        let home = TempDir::new().expect("a temporary folder");
        trust(&programs.certutil, home.path(), authorities);
        let output = File::create(home.path().join("output")).expect("create its output");
        let mut command = programs.chromium.command();
        command
            .args(["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"])
            .args(["--disable-gpu", "--no-first-run", "--no-proxy-server"])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args(["--remote-debugging-port=0", "--window-size=1280,800"])
            .arg(format!(
                "--user-data-dir={}",
                home.path().join("profile").display()
            ))
            .arg("about:blank")
            .env("HOME", home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CACHE_HOME")
            .current_dir(home.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output);
        let mut child = command.spawn().expect("start Chromium");
        let said = || fs::read_to_string(home.path().join("output")).unwrap_or_default();
        let url = poll(LIMIT, || {
            let ended = child.try_wait().expect("wait for Chromium").is_some();
            let found = said().lines().find_map(devtools).map(str::to_owned);
            found.map(Ok).or_else(|| ended.then_some(Err(())))
        })
        .await;
        let Some(Ok(url)) = url else {
            signal("KILL", &format!("-{}", child.id()));
            drop(child.wait());
            panic!("Chromium does not start:\n{}", tail(&said(), 1500));
        };
        let mut browser = Self {
            child,
            home,
            socket: attach(&url).await,
            calls: 0,
            page: None,
            session: None,
            events: VecDeque::new(),
        };
        browser.open_page().await;
        browser
    }

    async fn open_page(&mut self) {
        let asked = json!({ "url": "about:blank" });
        let page = self.call("Target.createTarget", asked).await;
        let page = &page["targetId"];
        let asked = json!({ "targetId": page, "flatten": true });
        let attached = self.call("Target.attachToTarget", asked).await;
        self.page = page.as_str().map(str::to_owned);
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Network.enable"] {
            self.call(domain, json!({})).await;
        }
    }

    /// Goes to a page. What happened on the one before is forgotten.
    pub async fn go(&mut self, url: &str) {
        self.events.clear();
        let gone = self.call("Page.navigate", json!({ "url": url })).await;
        assert_eq!(gone.get("errorText"), None, "{}", self.output());
        self.event("Page.loadEventFired", |_| true).await;
    }

    /// Closes the page as its user closes a tab, and opens an empty one. Navigating to another
    /// address is not the same: a browser may keep the old page in its back/forward cache, with
    /// open sockets.
    pub async fn close_page(&mut self) {
        self.events.clear();
        // The protocol session of the page ends with it, so send this to the browser itself.
        self.session = None;
        let page = json!({ "targetId": self.page.take() });
        let closed = self.call("Target.closeTarget", page).await;
        assert_eq!(closed["success"], true, "{}", self.output());
        self.open_page().await;
    }

    /// The value of an expression; a promise is awaited.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let told = self.call("Runtime.evaluate", asked).await;
        assert_eq!(told.get("exceptionDetails"), None, "{expression}");
        told["result"]["value"].clone()
    }

    /// Returns once an expression is true.
    pub async fn until(&mut self, expression: &str) {
        let asked = format!(
            "new Promise((done) => {{
                const look = () => ({expression}) ? done(true) : requestAnimationFrame(look);
                look();
            }})"
        );
        assert_eq!(self.eval(&asked).await, true);
    }

    /// The first event of this name that is like this, since the last [`Browser::go`].
    pub async fn event(&mut self, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let fits = |event: &Value| event["method"] == name && is_it(&event["params"]);
        loop {
            if let Some(at) = self.events.iter().position(fits) {
                let event = self.events.remove(at).expect("it is there");
                return event["params"].clone();
            }
            let message = self.read(name).await;
            self.keep(message);
        }
    }

    /// A screenshot of the page as a PNG file.
    pub async fn screenshot(&mut self, path: &Path) {
        let asked = json!({ "format": "png" });
        let shot = self.call("Page.captureScreenshot", asked).await;
        let data = shot["data"].as_str().expect("a picture");
        let png = BASE64.decode(data.as_bytes()).expect("base64");
        let folder = path.parent().expect("a folder");
        fs::create_dir_all(folder).expect("create the folder");
        fs::write(path, png).expect("write the picture");
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut request = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let sent = self.socket.send(Message::text(request.to_string())).await;
        sent.expect("talk to Chromium");
        loop {
            let message = self.read(method).await;
            if message["id"] == id {
                assert_eq!(message.get("error"), None, "{method}");
                return message["result"].clone();
            }
            self.keep(message);
        }
    }

    async fn read(&mut self, what: &str) -> Value {
        loop {
            let message = timeout(LIMIT, self.socket.next()).await;
            let message = message
                .unwrap_or_else(|_| panic!("waited {LIMIT:?} for {what}: {}", self.output()));
            if let Message::Text(text) = message.expect("Chromium is there").expect("a message") {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }

    fn keep(&mut self, message: Value) {
        if message.get("method").is_some() && self.events.len() < EVENTS {
            self.events.push_back(message);
        }
    }

    fn output(&self) -> String {
        let text = fs::read_to_string(self.home.path().join("output")).unwrap_or_default();
        tail(&text, 1500).to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The group: its helpers outlive it for a moment, and write into its folder.
        signal("KILL", &format!("-{}", self.child.id()));
        drop(self.child.wait());
    }
}

/// Runs the commands of `certs/README.md` as they are there, with this home folder. Where the page has
/// its example of a file and of a name, each authority gets its own.
pub fn trust(certutil: &Program, home: &Path, authorities: &[&Path]) {
    for (number, path) in authorities.iter().enumerate() {
        let script = readme_commands()
            .replace("certs/dev/dev-ca.pem", "\"$CA\"")
            .replace("wstap-dev", &format!("wstap-dev-{number}"));
        let said = shell(certutil, home, path, &script);
        assert!(said.is_ok(), "{script}: {said:?}");
    }
}

/// The block of `certs/README.md` that makes Chromium on Linux trust the development CA.
pub fn readme_commands() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/README.md");
    let page = fs::read_to_string(page).expect("read certs/README.md");
    let mut blocks = page.split("```sh\n").skip(1);
    let block = blocks.find(|block| block.contains("certutil"));
    let block = block.and_then(|block| block.split("```").next());
    block.expect("commands with certutil").to_owned()
}

/// Runs a script with nothing in its environment but this home and where `certutil` is. What it
/// prints, or complains of.
pub fn shell(certutil: &Program, home: &Path, ca: &Path, script: &str) -> Result<String, String> {
    // With the libraries that an unpacked certutil needs.
    let found = certutil.command();
    let folder = Path::new(found.get_program()).parent().expect("a folder");
    let mut command = Command::new("sh");
    command.args(["-e", "-c", script]).env_clear();
    for (name, value) in found.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = command
        .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .env("HOME", home)
        .env("CA", ca)
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .expect("run sh");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// `DevTools listening on ws://127.0.0.1:PORT/devtools/browser/ID`
fn devtools(line: &str) -> Option<&str> {
    line.strip_prefix("DevTools listening on ").map(str::trim)
}

async fn attach(url: &str) -> WebSocketStream<TcpStream> {
    let addr = url
        .strip_prefix("ws://")
        .and_then(|rest| rest.split('/').next());
    let connecting = TcpStream::connect(addr.expect("an address"));
    let tcp = timeout(STEP, connecting).await.expect("in time");
    let tcp = tcp.expect("connect to Chromium");
    let unlimited = WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None);
    let (socket, _) = client_async_with_config(url, tcp, Some(unlimited))
        .await
        .expect("the DevTools protocol");
    socket
}

/// The commands need a home that is there, and nothing else. The tests in `live::browser` load pages with
/// what they have done.
#[test]
fn the_commands_of_the_page_work_in_a_fresh_home() {
    let test = "support: certs/README.md";
    let Some(certutil) = Program::find("certutil") else {
        return super::skip::skip(test, "certutil is missing: run make fetch");
    };
    let home = TempDir::new().expect("a temporary folder");
    let ca = rcgen::generate_simple_self_signed(["wstap development CA".to_owned()]);
    let pem = ca.expect("a certificate").cert.pem();
    // Where the page has it: in the folder that the commands are run in.
    let folder = home.path().join("certs/dev");
    fs::create_dir_all(&folder).expect("create a folder");
    fs::write(folder.join("dev-ca.pem"), pem).expect("write a certificate");
    let run = |script: &str| shell(&certutil, home.path(), Path::new(""), script);
    let list = "certutil -d \"sql:$HOME/.pki/nssdb\" -L";
    assert!(run(list).is_err(), "a fresh home has no database");
    // Without the folder the last command fails, so the one before it is needed.
    let commands = readme_commands();
    let (_, import) = commands.trim().rsplit_once('\n').expect("two commands");
    assert!(run(import).is_err(), "{import} alone");
    // Twice: somebody else's database is kept, and so is ours.
    for _ in 0..2 {
        run(&commands).expect("the commands of the page");
        let listed = run(list).expect("a database");
        let line = listed.lines().find(|line| line.starts_with("wstap-dev"));
        let trusted = line.is_some_and(|line| line.trim_end().ends_with("C,,"));
        assert!(trusted, "{listed}");
    }
    run("certutil -d \"sql:$HOME/.pki/nssdb\" -D -n wstap-dev").expect("it is removed");
}
