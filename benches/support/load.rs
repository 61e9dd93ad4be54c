//! The role in front of the proxies: many clients in one process.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::message::{read, read_message};
use super::payload::{self, MARK};
use super::proc::{self, Result};

/// How many streams are being opened at a time.
const OPENING: usize = 64;

/// Kept-alive connections to one proxy, and the session that they share.
struct Target {
    session: String,
    idle: Vec<TcpStream>,
}

/// Takes commands until standard input closes.
///
/// `json ADDR CONNECTIONS REQUESTS` answers `done REQUESTS`, and so do `refused` with requests that are
/// to be answered with 401, and `limited` with those of 429. `streams ADDR COUNT REPLY` answers
/// `opened COUNT` when each stream has had an event, then `done EVENTS` when all have ended; or,
/// after the command `close`, `closed`.
pub(crate) async fn run() -> Result<()> {
    let mut commands = proc::commands();
    // Only so that every role starts the same way.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let mut targets = HashMap::new();
    while let Some(command) = commands.recv().await {
        let mut words = command.splitn(4, ' ');
        let mut word = || words.next().ok_or("incomplete command");
        let (kind, addr, count, rest) = (word()?, word()?.parse()?, word()?.parse()?, word()?);
        let mut target = match targets.remove(&addr) {
            Some(target) => target,
            None => initialize(addr).await?,
        };
        target.idle.retain(is_open);
        let target = match kind {
            "json" => {
                ask(
                    addr,
                    target,
                    count,
                    rest.parse()?,
                    payload::call_request_of,
                    "200",
                )
                .await?
            }
            // The same, from one who has asked too often.
            "limited" => {
                let request = payload::call_request_of;
                ask(addr, target, count, rest.parse()?, request, "429").await?
            }
            "refused" => {
                let request =
                    |_client, host: &str, session: &str| payload::refused_request(host, session);
                ask(addr, target, count, rest.parse()?, request, "401").await?
            }
            "streams" => streams(addr, target, count, rest, &mut commands).await?,
            _ => return Err("unknown command".into()),
        };
        targets.insert(addr, target);
    }
    Ok(())
}

async fn initialize(addr: SocketAddr) -> Result<Target> {
    let mut socket = connect(addr).await?;
    let request = payload::initialize_request(&addr.to_string());
    socket.write_all(&request).await?;
    let mut message = Vec::new();
    let head = read_message(&socket, &mut message).await?;
    let head = head.ok_or("no answer to initialize")?;
    let session = payload::header(&message[..head], "mcp-session-id");
    Ok(Target {
        session: session.unwrap_or("none").to_owned(),
        idle: vec![socket],
    })
}

/// Whether the peer still waits for a request: it may have waited for too long.
fn is_open(socket: &TcpStream) -> bool {
    let read = socket.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

async fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(addr).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Sends each client's request again and again, and has it answered with `status`.
async fn ask(
    addr: SocketAddr,
    mut target: Target,
    connections: usize,
    requests: usize,
    request: impl Fn(usize, &str, &str) -> Vec<u8>,
    status: &str,
) -> Result<Target> {
    let expected = format!("HTTP/1.1 {status} ");
    let left = Arc::new(AtomicUsize::new(requests));
    let mut clients = JoinSet::new();
    for client in 1..=connections {
        let idle = target.idle.pop();
        let request = request(client, &addr.to_string(), &target.session);
        let left = Arc::clone(&left);
        let expected = expected.clone();
        clients.spawn(async move {
            let mut socket = match idle {
                Some(socket) => socket,
                None => connect(addr).await?,
            };
            let mut message = Vec::new();
            let take = |left: usize| left.checked_sub(1);
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
            {
                socket.write_all(&request).await?;
                let head = read_message(&socket, &mut message).await?;
                if head.is_none() || !message.starts_with(expected.as_bytes()) {
                    return Err(String::from_utf8_lossy(&message).into());
                }
            }
            Result::Ok(socket)
        });
    }
    while let Some(client) = clients.join_next().await {
        target.idle.push(client??);
    }
    println!("done {requests}");
    Ok(target)
}

async fn streams(
    addr: SocketAddr,
    mut target: Target,
    count: usize,
    reply: &str,
    commands: &mut mpsc::UnboundedReceiver<String>,
) -> Result<Target> {
    let opening = Arc::new(Semaphore::new(OPENING));
    let (opened, mut all_opened) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for number in 0..count {
        // Paced streams do not all tick at once.
        let reply = format!("{reply} {}", number % 100);
        let request = payload::call_request(&addr.to_string(), &target.session, &reply);
        let idle = target.idle.pop();
        let (opening, opened) = (Arc::clone(&opening), opened.clone());
        clients.spawn(async move {
            let permit = opening.acquire().await?;
            let mut socket = match idle {
                Some(socket) => socket,
                None => connect(addr).await?,
            };
            socket.write_all(&request).await?;
            let mut stream = Stream::default();
            while stream.events == 0 {
                stream.read(&socket).await?;
            }
            drop(permit);
            opened.send(())?;
            while !stream.ended() {
                stream.read(&socket).await?;
            }
            Result::Ok((socket, stream.events - 1))
        });
    }
    drop(opened);
    let mut streams = 0;
    while all_opened.recv().await.is_some() {
        streams += 1;
        if streams == count {
            break;
        }
    }
    println!("opened {streams}");

    let _looking = reply
        .starts_with("paced")
        .then(|| AbortOnDrop(tokio::spawn(look_by_itself()).abort_handle()));
    let mut events = 0;
    loop {
        tokio::select! {
            ended = clients.join_next() => match ended {
                Some(client) => {
                    let (socket, received) = client??;
                    target.idle.push(socket);
                    events += received;
                }
                None => {
                    println!("done {events}");
                    return Ok(target);
                }
            },
            command = commands.recv() => {
                if command.as_deref() != Some("close") {
                    return Err("a command while streams are open".into());
                }
                clients.shutdown().await;
                println!("closed");
                return Ok(target);
            }
        }
    }
}

/// Keeps the load from waiting in the kernel for what its sockets bring.
///
/// A client that does is woken by the write that brings it, and the kernel charges the writer for
/// that: on a virtual machine as much as for all the rest of the write, and the more often, the more
/// regularly the writer writes. Clients on other machines cost nothing of the kind.
#[allow(
    clippy::disallowed_methods,
    reason = "the runtime's own timers wait for sockets too"
)]
async fn look_by_itself() {
    loop {
        // No timer of the runtime, which would wait in the kernel for the sockets too.
        std::thread::sleep(Duration::from_micros(200));
        tokio::task::yield_now().await;
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What has been seen of one event stream.
#[derive(Default)]
struct Stream {
    events: usize,
    tail: [u8; 7],
}

impl Stream {
    async fn read(&mut self, socket: &TcpStream) -> Result<()> {
        let open = read(socket, |bytes| self.see(bytes)).await?;
        open.ok_or_else(|| "the stream broke off".into())
    }

    fn see(&mut self, bytes: &[u8]) {
        self.events += memchr::memchr_iter(MARK, bytes).count();
        let new = &bytes[bytes.len().saturating_sub(self.tail.len())..];
        self.tail.rotate_left(new.len());
        let kept = self.tail.len() - new.len();
        self.tail[kept..].copy_from_slice(new);
    }

    /// Whether the last chunk has come; no event can end like this.
    fn ended(&self) -> bool {
        self.tail == *b"\r\n0\r\n\r\n"
    }
}
