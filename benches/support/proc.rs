//! Child processes of the bench, and what `/proc` says about them.

// Each benchmark uses some of it.
#![allow(dead_code)]

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use tokio::sync::mpsc;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Where a child runs, so that the measured process has a core to itself.
#[derive(Clone, Copy)]
pub(crate) enum Core {
    Proxy,
    Rest,
}

/// This binary, started again in one of its roles.
///
/// It ends when its standard input closes, so it cannot outlive its parent.
pub(crate) struct Role {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    addr: SocketAddr,
}

impl Role {
    /// Starts a role and waits until it listens.
    pub(crate) fn start(core: Core, args: &[&str]) -> Result<Self> {
        let binary = std::env::current_exe()?;
        // The shell raises the soft limit on descriptors, which a process cannot do for itself
        // without unsafe code; every step is an `exec`, so the process id stays the same.
        let mut script = OsString::from("ulimit -S -n \"$(ulimit -H -n)\"; exec ");
        if can_pin() {
            script.push(match core {
                Core::Proxy => "taskset -c 0 ",
                Core::Rest => "taskset -c 1 ",
            });
        }
        script.push("\"$0\" \"$@\"");
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg(binary)
            .arg("--role")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut role = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        role.addr = role.expect("listening on")?.parse()?;
        Ok(role)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends one line.
    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().ok_or("standard input is closed")?;
        stdin.write_all(format!("{line}\n").as_bytes())?;
        Ok(())
    }

    /// Waits for one line that starts with `word`, and returns the rest of it.
    pub(crate) fn expect(&mut self, word: &str) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        match line.trim_end().strip_prefix(word) {
            Some(rest) => Ok(rest.trim_start().to_owned()),
            None => Err(format!("expected `{word}`, got `{}`", line.trim_end()).into()),
        }
    }

    /// Nanoseconds of CPU time that all threads have used so far.
    pub(crate) fn cpu_ns(&self) -> Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = stat.split_whitespace().next().ok_or("empty schedstat")?;
            total += on_cpu.parse::<u64>()?;
        }
        Ok(total)
    }

    /// Memory that is in use, in KiB.
    pub(crate) fn resident_kib(&self) -> Result<f64> {
        self.memory_kib("smaps_rollup", "Rss:")
    }

    /// Address space for data, whether it was ever touched or not, in KiB.
    pub(crate) fn reserved_kib(&self) -> Result<f64> {
        self.memory_kib("status", "VmData:")
    }

    fn memory_kib(&self, file: &str, field: &str) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let value = text.lines().find_map(|line| line.strip_prefix(field));
        let value = value.and_then(|value| value.split_whitespace().next());
        Ok(value.ok_or("no such field")?.parse()?)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // A role that was stopped in the middle of something may not notice by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether there are two cores, and a tool that can bind a process to one of them.
pub(crate) fn can_pin() -> bool {
    let pinned = Command::new("taskset").args(["-c", "1", "true"]).status();
    pinned.is_ok_and(|status| status.success())
}

/// In a child: the lines of standard input; the process exits when it closes.
pub(crate) fn commands() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            // A role that takes no commands has dropped the receiver.
            let _ = sender.send(line);
        }
        std::process::exit(0);
    });
    receiver
}
