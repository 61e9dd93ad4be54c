//! The role behind the proxies: an MCP server that has its answers ready.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::message::read_message;
use super::payload;
use super::proc::{self, Result};

/// Events per write at full speed.
const BLOCK: usize = 200;

struct Replies {
    json: String,
    initialize: String,
    opening: Vec<u8>,
    comment: Vec<u8>,
    events: Vec<u8>,
    closing: Vec<u8>,
}

impl Replies {
    fn new() -> Self {
        let event = payload::event_chunk(false);
        Self {
            json: payload::json_response(),
            initialize: payload::initialize_response(),
            opening: [payload::stream_head().as_bytes(), &event].concat(),
            comment: [payload::stream_head().as_bytes(), &payload::comment_chunk()].concat(),
            events: event.repeat(BLOCK),
            closing: [&payload::event_chunk(true)[..], payload::LAST_CHUNK].concat(),
        }
    }
}

/// Serves until standard input closes; each line on it lets the streams that wait begin.
pub(crate) async fn run() -> Result<()> {
    let mut commands = proc::commands();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let replies = Arc::new(Replies::new());
    let (go, gate) = watch::channel(());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted?;
                let connection = serve(socket, Arc::clone(&replies), gate.clone());
                tokio::spawn(connection);
            }
            Some(_) = commands.recv() => go.send_replace(()),
        }
    }
}

async fn serve(
    mut socket: TcpStream,
    replies: Arc<Replies>,
    mut gate: watch::Receiver<()>,
) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut message = Vec::new();
    while let Some(head) = read_message(&socket, &mut message).await? {
        let reply = payload::header(&message[..head], payload::REPLY).unwrap_or("json");
        let mut words = reply.split(' ');
        let kind = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        match kind {
            "json" => socket.write_all(replies.json.as_bytes()).await?,
            "initialize" => socket.write_all(replies.initialize.as_bytes()).await?,
            "idle" => socket.write_all(&replies.opening).await?,
            "quiet" => socket.write_all(&replies.comment).await?,
            "sse" => {
                let events = number();
                open(&mut socket, &replies, &mut gate).await?;
                full_speed(&mut socket, &replies, events).await?;
            }
            "paced" => {
                let (events, every, phase) = (number(), number(), number());
                open(&mut socket, &replies, &mut gate).await?;
                paced(&mut socket, &replies, events, every, phase).await?;
            }
            _ => return Err("unknown kind of reply".into()),
        }
    }
    Ok(())
}

/// Sends the head and one event, then waits until all streams of the round are open.
async fn open(
    socket: &mut TcpStream,
    replies: &Replies,
    gate: &mut watch::Receiver<()>,
) -> Result<()> {
    gate.mark_unchanged();
    socket.write_all(&replies.opening).await?;
    gate.changed().await?;
    Ok(())
}

/// Sends `events` events, the last of which is the response, as fast as they are read.
async fn full_speed(socket: &mut TcpStream, replies: &Replies, events: u64) -> Result<()> {
    let mut left = usize::try_from(events)?.saturating_sub(1);
    while left > 0 {
        let now = left.min(BLOCK);
        let block = &replies.events[..now * payload::CHUNK];
        socket.write_all(block).await?;
        left -= now;
    }
    socket.write_all(&replies.closing).await?;
    Ok(())
}

/// Sends `events` events, one per tick of `every` milliseconds, beginning `phase` ms late.
async fn paced(
    socket: &mut TcpStream,
    replies: &Replies,
    events: u64,
    every: u64,
    phase: u64,
) -> Result<()> {
    let start = Instant::now() + Duration::from_millis(phase);
    let mut ticks = interval_at(start, Duration::from_millis(every));
    // A tick that comes late must not be followed by a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 1..events {
        ticks.tick().await;
        socket.write_all(&replies.events[..payload::CHUNK]).await?;
    }
    ticks.tick().await;
    socket.write_all(&replies.closing).await?;
    Ok(())
}
