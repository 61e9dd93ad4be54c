use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Weak,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response, Uri};
use http_body::Body;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tower_service::Service;

use super::{pool::Pool, wait::Wait};
use crate::BoxError;

/// The most that a connection reads ahead of its client.
const MAX_READ_BYTES: usize = 64 * 1024;

/// The longest response head.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long the rest of a request may take once its response is over.
const LINGER: Duration = Duration::from_secs(60);

/// A connection that carries one exchange at a time and is polled by whoever has that exchange.
///
/// hyper-util's client gives each connection a task, and hands every chunk of a body from that
/// task to the reader's. Here the reader polls the connection itself: a chunk costs no switch
/// between tasks, what has arrived already is known without waiting for another task's turn, a
/// reader that pauses stops the reading, and one that is dropped closes the connection.
///
/// It would also stop the *request*, if that is not sent yet; then the connection gets a task
/// after all.
pub(super) trait Drive: Send {
    /// Moves bytes. Ready when the connection is over, and must not be called again then.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Lets the exchange go on without the reader's help: both directions at their own pace. None
    /// outside of a runtime, where nobody can go on with it and it is closed.
    fn detach(self: Box<Self>) -> Option<Detached>;

    /// The response is over. Keeps the connection for a later exchange, if this one left it clean;
    /// `lingers` says whether what is left of the request is still to be sent.
    fn finish(self: Box<Self>, lingers: bool);
}

/// For looking at what is there without being woken when there is more.
///
/// Both ends of an exchange are polled by its reader: hyper's connection, and what comes out of it.
/// Given the reader's waker, each would wake that very reader whenever the other has moved, for
/// nothing. So what comes out is polled without a waker, and a connection is driven with one only
/// when nothing more is to be had; then what wakes the reader is the socket.
pub(super) const fn quiet() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// A connection that has a task of its own, until this is dropped (CAN-3).
#[derive(Debug)]
pub(super) struct Detached {
    task: AbortHandle,
}

impl Detached {
    /// Lets the task live on for as long as the rest of a request may take.
    pub(super) fn linger(self) {
        if self.task.is_finished() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                sleep(LINGER).await;
                drop(self);
            });
        }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection that takes requests with a body of type `B`.
pub(super) trait Upstream<B>: Drive {
    /// Sends `request`; the answer comes while the connection is driven.
    fn send(&mut self, request: Request<B>) -> Sending<B>;

    /// What the last exchange has left for the next one.
    fn wait(&mut self) -> &mut Option<Box<Wait>>;
}

/// Until the response head. Boxed, because hyper does not name the future.
pub(super) type Sending<B> =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + Send>>;

/// Until there is a connection for the request. One box per connection.
pub(super) type Connecting<B> =
    Pin<Box<dyn Future<Output = Result<(Box<dyn Upstream<B>>, Request<B>), ConnectError>> + Send>>;

/// Makes connections to one upstream.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    http: HttpConnector,
    timeout: Duration,
}

/// There is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    Failed(BoxError),
    TimedOut,
}

impl Connector {
    pub(super) fn new(timeout: Duration, keep_alive: Duration) -> Self {
        let mut http = HttpConnector::new();
        // An event is a small write that somebody waits for.
        http.set_nodelay(true);
        // A stream may be silent for hours: whether its peer is still there, TCP has to find out.
        http.set_keepalive(Some(keep_alive));
        http.set_keepalive_interval(Some(keep_alive));
        http.set_keepalive_retries(Some(3));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        http.set_tcp_user_timeout(Some(keep_alive.saturating_mul(4)));
        Self { http, timeout }
    }

    /// Connects to the authority of `uri`, within a time that includes the name's resolution.
    pub(super) fn connect<B>(
        &self,
        uri: Uri,
        request: Request<B>,
        pool: Weak<Pool<B>>,
    ) -> Connecting<B>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let Self {
            mut http,
            timeout: limit,
        } = self.clone();
        Box::pin(async move {
            // HttpConnector is always ready, as long as its resolver is, and this one always is.
            let connected = timeout(limit, http.call(uri));
            let io = connected
                .await
                .map_err(|_elapsed| ConnectError::TimedOut)?
                .map_err(|error| ConnectError::Failed(error.into()))?;
            let (sender, driver) = http1::Builder::new()
                .max_buf_size(MAX_READ_BYTES)
                .max_header_size(MAX_HEAD_BYTES)
                .handshake(io)
                .await
                .map_err(|error| ConnectError::Failed(error.into()))?;
            let connection: Box<dyn Upstream<B>> = Box::new(Connection {
                sender,
                driver,
                pool,
                wait: None,
            });
            Ok((connection, request))
        })
    }
}

struct Connection<B: Body + 'static> {
    sender: http1::SendRequest<B>,
    driver: http1::Connection<TokioIo<TcpStream>, B>,
    pool: Weak<Pool<B>>,
    wait: Option<Box<Wait>>,
}

impl<B> Drive for Connection<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // An error reaches whoever waits for the head or the body, too.
        Pin::new(&mut self.driver).poll(cx).map(drop)
    }

    fn detach(self: Box<Self>) -> Option<Detached> {
        let runtime = Handle::try_current().ok()?;
        let task = runtime.spawn(self.run()).abort_handle();
        Some(Detached { task })
    }

    fn finish(mut self: Box<Self>, lingers: bool) {
        // Driven without a waker: one that stays behind is woken by somebody else's exchange.
        match self.poll_free(&mut quiet()) {
            Poll::Ready(true) => self.release(),
            Poll::Ready(false) => {}
            // What is left is of the request: the response has been read to its end.
            Poll::Pending if lingers => {
                if let Ok(runtime) = Handle::try_current() {
                    runtime.spawn(timeout(LINGER, self.run()));
                }
            }
            Poll::Pending => {}
        }
    }
}

impl<B> Connection<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    /// Ready with true when the exchange is over in both directions and the next may begin, with
    /// false when the connection is over.
    fn poll_free(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // The end of the framing, or a close, may be there but unread. And hyper may find out that it
        // is free only when it is asked once more after its last write, for which nobody wakes it.
        for _ in 0..2 {
            if self.sender.is_ready() {
                return Poll::Ready(true);
            }
            if self.drive(cx).is_ready() {
                return Poll::Ready(false);
            }
        }
        if self.sender.is_ready() {
            Poll::Ready(true)
        } else {
            Poll::Pending
        }
    }

    async fn run(mut self: Box<Self>) {
        if poll_fn(|cx| self.poll_free(cx)).await {
            self.release();
        }
    }

    fn release(self: Box<Self>) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(self);
        }
    }
}

impl<B> Upstream<B> for Connection<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    fn send(&mut self, request: Request<B>) -> Sending<B> {
        Box::pin(self.sender.try_send_request(request))
    }

    fn wait(&mut self) -> &mut Option<Box<Wait>> {
        &mut self.wait
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed(_) => "cannot connect",
            Self::TimedOut => "the connection was not there in time",
        })
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error.as_ref()),
            Self::TimedOut => None,
        }
    }
}
