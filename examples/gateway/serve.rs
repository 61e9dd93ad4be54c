//! Accepts connections and serves them until told to stop.

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, server::graceful::GracefulConnection};
use pin_project_lite::pin_project;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{self, JoinSet},
    time::{sleep, timeout},
};
use tower::Service;

use head_timer::HeadTimer;
use on_connection::OnConnection;

#[path = "head_timer.rs"]
mod head_timer;
#[path = "on_connection.rs"]
mod on_connection;

/// How connections are treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Silence after which TCP probes the client.
    pub(crate) keep_alive: Duration,
    /// How long open connections may go on once `serve` was told to stop.
    pub(crate) grace: Duration,
}

/// The time that a client has to send its request head, and that an unused connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that the kernel keeps trying to deliver to a client that takes nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of a request head; 431 beyond it.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Serves every connection with a clone of `service` until `stop` completes; then no new request
/// is taken, and what is open may go on for the grace period.
pub(crate) async fn serve<S, B, F>(
    listener: TcpListener,
    service: S,
    options: Options,
    stop: F,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: std::error::Error + Send + Sync,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: std::error::Error + Send + Sync,
    F: Future<Output = ()>,
{
    let mut http = http1::Builder::new();
    http.header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_HEAD_BYTES);
    let mut connections = Connections::default();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connections.ended() => continue,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // The client was gone before it was accepted.
            Err(error) if is_of_client(&error) => continue,
            Err(error) => {
                // Out of descriptors, most likely: accepting again at once would spin.
                tracing::error!(%error, "cannot accept");
                tokio::select! {
                    () = sleep(Duration::from_millis(100)) => continue,
                    () = &mut stop => break,
                }
            }
        };
        if let Err(error) = prepare(&stream, options.keep_alive) {
            // The client is served all the same; if it is gone, that shows by itself.
            tracing::warn!(%error, "cannot set the options of a connection");
        }
        let service = OnConnection::new(service.clone(), peer);
        http.timer(HeadTimer::default());
        connections.spawn(http.serve_connection(TokioIo::new(stream), service));
    }
    // Closes the socket: new clients are refused by the kernel from here on.
    drop(listener);
    connections.drain(options.grace).await;
    Ok(())
}

/// The open connections.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// Wakes each when it is to take no further request.
    stops: HashMap<task::Id, oneshot::Sender<()>>,
    /// Whether that has happened: the one place where each looks when it is polled.
    is_stopping: Arc<AtomicBool>,
}

impl Connections {
    fn spawn<C>(&mut self, connection: C)
    where
        C: GracefulConnection<Error: std::error::Error> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let task = self.tasks.spawn(Stoppable {
            connection,
            stopped: Some(stopped),
            is_heard: false,
            is_stopping: Arc::clone(&self.is_stopping),
        });
        self.stops.insert(task.id(), stop);
    }

    /// Forgets the next connection that ends, by itself or by a panic; waits while there is none.
    async fn ended(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(panicked)) => panicked.id(),
            None => return std::future::pending().await,
        };
        self.stops.remove(&id);
    }

    /// Lets each finish the request that it is at, within `grace`.
    async fn drain(mut self, grace: Duration) {
        self.is_stopping.store(true, Ordering::Release);
        // A connection whose sender is dropped takes no further request.
        self.stops.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(grace, all).await.is_err() {
            tracing::info!(open = self.tasks.len(), "grace period over, closing");
            self.tasks.shutdown().await;
        }
    }
}

pin_project! {
    /// A connection that takes no further request once it is told to stop, or its `Connections`
    /// are gone. Written by hand, because an async block would keep the connection's place twice.
    struct Stoppable<C> {
        #[pin]
        connection: C,
        stopped: Option<oneshot::Receiver<()>>,
        // Whether the sender has the waker of this task, which stays the same.
        is_heard: bool,
        is_stopping: Arc<AtomicBool>,
    }
}

impl<C> Future for Stoppable<C>
where
    C: GracefulConnection<Error: std::error::Error>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            if let Poll::Ready(result) = this.connection.as_mut().poll(cx) {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection ended");
                }
                return Poll::Ready(());
            }
            let Some(stopped) = this.stopped else {
                return Poll::Pending;
            };
            if *this.is_heard && !this.is_stopping.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            *this.is_heard = true;
            // Sent or dropped, it says the same.
            let _ = ready!(Pin::new(stopped).poll(cx));
            *this.stopped = None;
            this.connection.as_mut().graceful_shutdown();
        }
    }
}

fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

fn prepare(stream: &TcpStream, keep_alive: Duration) -> io::Result<()> {
    // An event is a small write that somebody waits for.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new()
        .with_time(keep_alive)
        .with_interval(keep_alive);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(WRITE_TIMEOUT))?;
    Ok(())
}
