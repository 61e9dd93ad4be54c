//! A TCP relay in front of an endpoint that keeps what the client sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) url: String,
    /// One entry per connection.
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("bind a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let sent = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = sent.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = {
                    let mut kept = kept.lock().expect("not poisoned");
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                tokio::spawn(relay(client, upstream, kept.clone(), connection));
            }
        });
        Self {
            url: format!("http://{address}/mcp"),
            sent,
        }
    }

    /// The requests so far, as request line and header lines in lower case.
    ///
    /// Only the first of each connection: rmcp's client opens one connection per request.
    pub(crate) fn requests(&self) -> Vec<String> {
        let sent = self.sent.lock().expect("not poisoned");
        sent.iter()
            .filter_map(|bytes| {
                let text = String::from_utf8_lossy(bytes).to_lowercase();
                text.split_once("\r\n\r\n").map(|(head, _)| head.to_owned())
            })
            .collect()
    }
}

/// The value of a header in one of [`Tap::requests`].
pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim())
    })
}

async fn relay(
    client: TcpStream,
    upstream: SocketAddr,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    connection: usize,
) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = [0; 8192];
        loop {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                return to_server.shutdown().await;
            }
            sent.lock().expect("not poisoned")[connection].extend_from_slice(&buffer[..read]);
            to_server.write_all(&buffer[..read]).await?;
        }
    };
    let down = async {
        io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(up, down).map(drop)
}
