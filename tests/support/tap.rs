//! A TCP relay in front of an endpoint that keeps what both sides sent, and cuts connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) url: String,
    relayed: Arc<Relayed>,
}

#[derive(Debug, Default)]
struct Relayed {
    connections: Mutex<Vec<Connection>>,
    /// Whether new connections wait.
    is_held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Connection {
    sent: Vec<u8>,
    received: Vec<u8>,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Open,
    Cut,
    /// Both sides have closed, or one has after it was cut.
    Over,
}

impl Tap {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("bind a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let relayed = Arc::<Relayed>::default();
        let relays = relayed.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = {
                    let mut connections = relays.connections();
                    connections.push(Connection::default());
                    connections.len() - 1
                };
                let relays = relays.clone();
                tokio::spawn(async move { relays.serve(client, upstream, number).await });
            }
        });
        Self {
            url: format!("http://{address}/mcp"),
            relayed,
        }
    }

    /// The requests so far, as request line and header lines, all but the values in lower case.
    ///
    /// Only the first of each connection: rmcp's client opens one connection per request.
    pub(crate) fn requests(&self) -> Vec<String> {
        let connections = self.relayed.connections();
        connections
            .iter()
            .filter_map(|connection| {
                let text = String::from_utf8_lossy(&connection.sent);
                let (head, _) = text.split_once("\r\n\r\n")?;
                let lines = head.split("\r\n").map(|line| match line.split_once(':') {
                    Some((name, value)) => format!("{}:{value}", name.to_lowercase()),
                    None => line.to_lowercase(),
                });
                Some(lines.collect::<Vec<_>>().join("\r\n"))
            })
            .collect()
    }

    /// All that the server sent, one text per connection.
    pub(crate) fn responses(&self) -> Vec<String> {
        let connections = self.relayed.connections();
        let all = connections.iter();
        all.map(|connection| String::from_utf8_lossy(&connection.received).into_owned())
            .collect()
    }

    /// Resets the open connections whose client sent `needle`, at both ends, and counts them.
    pub(crate) fn cut(&self, needle: &str) -> usize {
        let connections = self.relayed.connections();
        let open = connections
            .iter()
            .filter(|one| one.has_sent(needle) && *one.state.borrow() == State::Open);
        let cut = |one: &&Connection| {
            one.state.send_replace(State::Cut);
        };
        open.inspect(cut).count()
    }

    /// Returns once both ends have closed the one connection whose client sent `needle`.
    pub(crate) async fn over(&self, needle: &str) {
        let mut state = {
            let connections = self.relayed.connections();
            let mut all = connections.iter().filter(|one| one.has_sent(needle));
            let one = all.next().expect("a connection");
            assert!(all.next().is_none(), "more than one connection");
            one.state.subscribe()
        };
        let over = state.wait_for(|state| *state == State::Over).await;
        over.expect("the tap keeps it");
    }

    /// Lets no new connection through until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.relayed.is_held.send_replace(true);
    }

    pub(crate) fn release(&self) {
        self.relayed.is_held.send_replace(false);
    }
}

/// The value of a header in one of [`Tap::requests`].
pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim())
    })
}

impl Connection {
    fn has_sent(&self, needle: &str) -> bool {
        String::from_utf8_lossy(&self.sent).contains(needle)
    }
}

impl Relayed {
    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().expect("not poisoned")
    }

    async fn serve(&self, mut client: TcpStream, upstream: SocketAddr, number: usize) {
        let mut is_held = self.is_held.subscribe();
        let released = is_held.wait_for(|is_held| !is_held).await;
        released.expect("the tap keeps it");
        let mut state = self.connections()[number].state.subscribe();
        if let Ok(mut server) = TcpStream::connect(upstream).await {
            tokio::select! {
                // That a peer resets is for the other one to know, who sees the close.
                _ = self.relay(&mut client, &mut server, number) => {}
                _ = state.wait_for(|state| *state == State::Cut) => {
                    // Unsent data is thrown away, and the peer sees a reset.
                    for stream in [&client, &server] {
                        let reset = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                        reset.expect("an option that sockets have");
                    }
                }
            }
        }
        drop(client);
        self.connections()[number].state.send_replace(State::Over);
    }

    async fn relay(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        number: usize,
    ) -> io::Result<()> {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let up = async {
            let mut buffer = [0; 8192];
            loop {
                let read = from_client.read(&mut buffer).await?;
                if read == 0 {
                    return to_server.shutdown().await;
                }
                let sent = &buffer[..read];
                self.connections()[number].sent.extend_from_slice(sent);
                to_server.write_all(sent).await?;
            }
        };
        let down = async {
            let mut buffer = [0; 8192];
            loop {
                let read = from_server.read(&mut buffer).await?;
                if read == 0 {
                    return to_client.shutdown().await;
                }
                let received = &buffer[..read];
                self.connections()[number]
                    .received
                    .extend_from_slice(received);
                to_client.write_all(received).await?;
            }
        };
        tokio::try_join!(up, down).map(drop)
    }
}
