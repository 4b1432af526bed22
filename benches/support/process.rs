//! Running programs: started on a core, measured with all their children, and always ended.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::Fallible;
use super::clock;
use super::role::{self, Role};

/// Time limit for a start; Envoy takes a few seconds.
const START: Duration = Duration::from_secs(20);
/// Time for a program to end by itself; after this it is killed.
const END: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// A running program. Ended when dropped, with its children.
pub struct Running {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts it on this core. Its output goes into files of the folder.
    pub fn start(name: &str, command: &Command, folder: &Path, core: usize) -> Fallible<Self> {
        let (stdout, stderr) = (
            folder.join(format!("{name}.out")),
            folder.join(format!("{name}.err")),
        );
        let mut args = vec![core.to_string().into(), command.get_program().to_owned()];
        args.extend(command.get_args().map(ToOwned::to_owned));
        let mut launcher = role::command(Role::Launch, args);
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => launcher.env(key, value),
                None => launcher.env_remove(key),
            };
        }
        let child = launcher
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()
            .map_err(|error| format!("{name} did not start: {error}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it accepts connections at `addr`.
    pub fn wait_until_it_listens(&mut self, addr: SocketAddr) -> Fallible<()> {
        self.wait("listens", || TcpStream::connect(addr).is_ok())
    }

    /// Waits for the first line of its output.
    pub fn first_line(&self) -> Fallible<String> {
        let deadline = Instant::now() + START;
        loop {
            let text = fs::read_to_string(&self.stdout)?;
            if let Some((line, _)) = text.split_once('\n') {
                return Ok(line.to_owned());
            }
            if Instant::now() > deadline {
                return Err(format!("{} printed nothing: {}", self.name, self.complaint()).into());
            }
            sleep(PAUSE);
        }
    }

    fn wait(&mut self, what: &str, done: impl Fn() -> bool) -> Fallible<()> {
        let deadline = Instant::now() + START;
        while !done() {
            if let Some(status) = self.child.try_wait()? {
                let name = &self.name;
                return Err(format!("{name} ended with {status}: {}", self.complaint()).into());
            }
            if Instant::now() > deadline {
                let name = &self.name;
                return Err(format!("{name} never {what}: {}", self.complaint()).into());
            }
            sleep(PAUSE);
        }
        Ok(())
    }

    /// The last line of its error output.
    fn complaint(&self) -> String {
        let text = fs::read_to_string(&self.stderr).unwrap_or_default();
        let line = text.lines().rfind(|line| !line.trim().is_empty());
        line.unwrap_or("it said nothing")
            .trim()
            .chars()
            .take(200)
            .collect()
    }

    /// CPU time so far of all its processes: of all their threads, including ended ones, and of
    /// children that have ended.
    pub fn cpu(&self) -> Fallible<Duration> {
        let mut all = Duration::ZERO;
        for id in self.tree()? {
            let text = fs::read_to_string(format!("/proc/{id}/stat"));
            match (clock::of_process(id), text) {
                (Ok(own), Ok(text)) => all += own + of_ended_children(&text)?,
                // This process ended meanwhile: its time is counted with its parent.
                _ if id != self.id() => {}
                (Err(error), _) => return Err(error),
                (_, Err(error)) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    /// Proportional set size of all its processes, in KiB.
    pub fn pss(&self) -> Fallible<usize> {
        let mut all = 0;
        for id in self.tree()? {
            let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            let number = line.and_then(|line| line.split_whitespace().next());
            all += number.ok_or("smaps_rollup has no Pss")?.parse::<usize>()?;
        }
        Ok(all)
    }

    /// Moves all its threads to a core.
    pub fn pin(&self, core: usize) -> Fallible<()> {
        for task in self.tasks()? {
            let id = task.file_name().and_then(|name| name.to_str());
            let id = id.ok_or("a task without a number")?.parse()?;
            pin(Pid::from_raw(id), core)?;
        }
        Ok(())
    }

    /// `/proc/PID/task/TID` of all threads of all its processes.
    fn tasks(&self) -> Fallible<Vec<PathBuf>> {
        let mut tasks = Vec::new();
        for id in self.tree()? {
            let Ok(folder) = fs::read_dir(format!("/proc/{id}/task")) else {
                continue;
            };
            tasks.extend(folder.flatten().map(|entry| entry.path()));
        }
        Ok(tasks)
    }

    /// Whether all its threads have a tracer.
    pub fn is_traced(&self) -> Fallible<bool> {
        for task in self.tasks()? {
            let status = fs::read_to_string(task.join("status"))?;
            if status.lines().any(|line| line == "TracerPid:\t0") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The process and all its descendants.
    pub fn tree(&self) -> Fallible<Vec<u32>> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            if let Some(Ok(parent)) = field(&stat, 4).map(str::parse::<u32>) {
                parents.push((id, parent));
            }
        }
        let mut tree = vec![self.id()];
        let mut next = 0;
        while let Some(parent) = tree.get(next).copied() {
            let children = parents.iter().filter(|(_, of)| *of == parent);
            tree.extend(children.map(|(id, _)| *id));
            next += 1;
        }
        Ok(tree)
    }

    fn ended_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => sleep(PAUSE),
                Ok(None) => return false,
                _ => return true,
            }
        }
    }

    /// Asks it to end and waits a little.
    pub fn end(&mut self) -> bool {
        signal(self.id(), Signal::TERM);
        self.ended_within(END)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let tree = self.tree().unwrap_or_default();
        if !self.end() {
            for id in tree {
                signal(id, Signal::KILL);
            }
            drop(self.child.wait());
        }
    }
}

/// A field of `/proc/PID/stat`, by its number in `man 5 proc`.
fn field(stat: &str, number: usize) -> Option<&str> {
    // The second field, a name in brackets, may contain anything.
    let (_, behind) = stat.rsplit_once(") ")?;
    behind.split_whitespace().nth(number - 3)
}

/// CPU time of the children that a process has waited for.
pub fn of_ended_children(stat: &str) -> Fallible<Duration> {
    let mut ticks = 0;
    for number in [16, 17] {
        let field = field(stat, number).ok_or("a stat without the children's times")?;
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_secs(ticks) / u32::try_from(clock_ticks_per_second())?)
}

/// Sends a signal; a process that is gone needs none.
fn signal(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    if let Some(id) = id {
        _ = kill_process(id, signal);
    }
}

/// Moves the calling thread, and all that it starts from now on, to a core.
pub fn pin_self(core: usize) -> Fallible<()> {
    pin(None, core)
}

fn pin(task: Option<Pid>, core: usize) -> Fallible<()> {
    let mut set = CpuSet::new();
    set.set(core);
    match sched_setaffinity(task, &set) {
        // The thread ended meanwhile.
        Err(rustix::io::Errno::SRCH) => Ok(()),
        done => done.map_err(|error| format!("no core {core}: {error}").into()),
    }
}

/// Two cores of this process: one for the measured program, one for everything else. On a machine
/// with one core they are the same.
pub fn cores() -> Fallible<(usize, usize)> {
    let set = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    let first = cores.next().ok_or("this process may run on no core")?;
    Ok((first, cores.next().unwrap_or(first)))
}

/// A free loopback port, for a program that needs a fixed port. Another process may take the port
/// before the program does.
pub fn free_port() -> Fallible<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Raises this process's limit of open files to the hard limit, and returns it.
pub fn raise_files() -> Fallible<usize> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.maximum.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    }))
}
