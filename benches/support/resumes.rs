//! The clients that lose their connections, and go on where they were.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use shadowcat::sse::{Decoder, Frame};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::message::read;
use super::payload::{self, MARK};
use super::proc::{self, Result};
use super::report::median;

/// How many streams are being opened at a time.
const OPENING: usize = 64;

/// Takes commands until standard input closes.
///
/// `cut ADDR COUNT BEFORE TOTAL` opens streams, reads `BEFORE` events of each, cuts all of them at
/// once, and answers `cut`; after `resume`, it resumes them all at once, and answers
/// `done MILLISECONDS MISSED DOUBLED FOREIGN`. `first ADDR LIVE EVERY COUNT` measures how long the
/// first event takes that a client has missed, and answers `first MICROSECONDS` for streams that have
/// ended, and for streams that go on.
pub(crate) async fn run() -> Result<()> {
    let mut commands = proc::commands();
    // Only so that every role starts the same way.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    while let Some(command) = commands.recv().await {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["cut", addr, count, before, total] => {
                let addr = addr.parse()?;
                let cursors = cut(addr, count.parse()?, before.parse()?, total.parse()?).await?;
                println!("cut");
                commands.recv().await;
                resume(addr, cursors, total.parse()?).await?;
            }
            ["first", addr, live, every, count] => {
                let (addr, count) = (addr.parse()?, count.parse()?);
                let _live = open_live(addr, live.parse()?, every).await?;
                for goes_on in [false, true] {
                    println!("first {}", first(addr, count, goes_on).await?);
                }
            }
            _ => return Err("unknown command".into()),
        }
    }
    Ok(())
}

/// What a client of one stream has.
struct Client {
    stream: usize,
    /// The number of the last event that it took note of.
    seen: usize,
    cursor: String,
}

/// One connection, and all that came over it.
struct Connection {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    async fn open(addr: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(addr).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            bytes: Vec::new(),
        })
    }

    async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.bytes.clear();
        Ok(self.socket.write_all(request).await?)
    }

    async fn read(&mut self) -> Result<()> {
        let bytes = &mut self.bytes;
        let open = read(&self.socket, |new| bytes.extend_from_slice(new)).await?;
        open.ok_or_else(|| "the connection closed".into())
    }

    /// Reads until `count` events are there.
    async fn read_events(&mut self, count: usize) -> Result<()> {
        while memchr::memchr_iter(MARK, &self.bytes).count() < count {
            self.read().await?;
        }
        Ok(())
    }

    /// Reads to the end of the response.
    async fn read_all(&mut self) -> Result<()> {
        while !self.bytes.ends_with(b"\r\n0\r\n\r\n") {
            self.read().await?;
        }
        Ok(())
    }

    /// The ids of the events that are there, and what they say.
    fn events(&self) -> Result<Vec<(String, String)>> {
        if !self.bytes.starts_with(b"HTTP/1.1 200 ") {
            return Err(String::from_utf8_lossy(&self.bytes).into());
        }
        let mut decoder = Decoder::new();
        let mut stream = Bytes::from(unchunked(&self.bytes)?);
        let mut events = Vec::new();
        while let Some(frame) = decoder.decode(&mut stream)? {
            let Frame::Event(event) = frame else { continue };
            let id = event.id().ok_or("an event without an id")?;
            let data = event.data().ok_or("an event without data")?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            events.push((text(id), text(&data)));
        }
        Ok(events)
    }
}

/// The body of a message in chunks, as far as it is there.
fn unchunked(message: &[u8]) -> Result<Vec<u8>> {
    let head = memchr::memmem::find(message, b"\r\n\r\n").ok_or("no head")?;
    let mut rest = &message[head + 4..];
    let mut body = Vec::with_capacity(rest.len());
    while let Some(line) = memchr::memchr(b'\r', rest) {
        let len = usize::from_str_radix(std::str::from_utf8(&rest[..line])?, 16)?;
        rest = &rest[line + 2..];
        body.extend_from_slice(&rest[..len.min(rest.len())]);
        rest = rest.get(len + 2..).unwrap_or_default();
    }
    Ok(body)
}

/// Each client has a session of its own.
fn session(client: usize) -> String {
    format!("3f2b8c1e-6f0a-4d8e-9a55-{client:012x}")
}

fn post(addr: SocketAddr, client: usize, reply: &str) -> Vec<u8> {
    payload::call_request(&addr.to_string(), &session(client), reply)
}

fn get(addr: SocketAddr, client: usize, cursor: &str) -> Vec<u8> {
    payload::resume_request(&addr.to_string(), &session(client), cursor)
}

async fn cut(addr: SocketAddr, count: usize, before: usize, total: usize) -> Result<Vec<Client>> {
    let opening = Arc::new(Semaphore::new(OPENING));
    let mut clients = JoinSet::new();
    for stream in 0..count {
        let opening = Arc::clone(&opening);
        clients.spawn(async move {
            let _permit = opening.acquire().await?;
            let mut connection = Connection::open(addr).await?;
            let reply = format!("numbered {stream} {before} {total}");
            connection.send(&post(addr, stream, &reply)).await?;
            connection.read_events(before).await?;
            // Not all have taken note of the same.
            let seen = 1 + stream % before;
            let events = connection.events()?;
            let (cursor, _) = events.get(seen - 1).ok_or("an event is missing")?;
            let cursor = cursor.clone();
            Result::Ok((
                connection,
                Client {
                    stream,
                    seen,
                    cursor,
                },
            ))
        });
    }
    // All connections stay open until all have what they wait for.
    let mut cut = Vec::with_capacity(count);
    while let Some(client) = clients.join_next().await {
        cut.push(client??);
    }
    Ok(cut.into_iter().map(|(_, client)| client).collect())
}

async fn resume(addr: SocketAddr, clients: Vec<Client>, total: usize) -> Result<()> {
    let start = Instant::now();
    let mut resumes = JoinSet::new();
    for client in clients {
        resumes.spawn(async move {
            let mut connection = Connection::open(addr).await?;
            connection
                .send(&get(addr, client.stream, &client.cursor))
                .await?;
            connection.read_all().await?;
            Result::Ok((client, connection))
        });
    }
    let mut done = Vec::new();
    while let Some(resumed) = resumes.join_next().await {
        done.push(resumed??);
    }
    let time = start.elapsed().as_secs_f64() * 1_000.0;
    let (mut missed, mut doubled, mut foreign) = (0, 0, 0);
    for (client, connection) in done {
        let mut times = vec![0; total];
        for (_, data) in connection.events()? {
            let mut is_own = |event: &usize| data.contains(&format!("<{}/{event}>", client.stream));
            match (1..=total).find(&mut is_own) {
                Some(event) => times[event - 1] += 1,
                None => foreign += 1,
            }
        }
        let (before, after) = times.split_at(client.seen);
        doubled += before.iter().sum::<usize>();
        missed += after.iter().filter(|times| **times == 0).count();
        doubled += after.iter().filter(|times| **times > 1).count();
    }
    println!("done {time} {missed} {doubled} {foreign}");
    Ok(())
}

/// Clients of streams that go on and on.
async fn open_live(addr: SocketAddr, count: usize, every: &str) -> Result<JoinSet<Result<()>>> {
    let mut clients = JoinSet::new();
    for client in 1..=count {
        let mut connection = Connection::open(addr).await?;
        let request = post(addr, client, &format!("live {every}"));
        connection.send(&request).await?;
        connection.read_events(1).await?;
        clients.spawn(async move {
            loop {
                connection.bytes.clear();
                connection.read().await?;
            }
        });
    }
    Ok(clients)
}

/// Microseconds from a request to the first event that was missed; the median of `count`.
async fn first(addr: SocketAddr, count: usize, goes_on: bool) -> Result<f64> {
    const EVENTS: usize = 200;
    let total = if goes_on { EVENTS + 1 } else { EVENTS };
    let mut connection = Connection::open(addr).await?;
    let reply = format!("numbered 0 {EVENTS} {total}");
    connection.send(&post(addr, 0, &reply)).await?;
    connection.read_events(EVENTS).await?;
    if !goes_on {
        connection.read_all().await?;
    }
    let events = connection.events()?;
    let mut times = Vec::with_capacity(count);
    for round in 0..count {
        if goes_on {
            connection = Connection::open(addr).await?;
        }
        // Another place each time: whoever comes back to the same one is slowed down.
        let (cursor, _) = &events[round % (EVENTS - 1)];
        let request = get(addr, 0, cursor);
        let start = Instant::now();
        connection.send(&request).await?;
        connection.read_events(1).await?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
        let missed = EVENTS - 1 - round % (EVENTS - 1);
        connection.read_events(missed).await?;
        if !goes_on {
            connection.read_all().await?;
        }
        if connection.events()?.len() != missed {
            return Err("not what was missed".into());
        }
    }
    Ok(median(&mut times))
}
